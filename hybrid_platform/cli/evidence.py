"""Evidence for auditors and operators: `verify`, `make-key`, `matrix` and `arm`."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hybrid_platform.cli.options import config_option, data_dir_option, read_settings, set_option

if TYPE_CHECKING:
    from hybrid_platform.evidence.verify import Verification

_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_MARKS = {True: "PASS", False: "FAIL", None: "–"}


class _Duration(click.ParamType[float]):
    """Parameter type: seconds, or a number with s, m, h or d; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the duration in seconds; fail with a usage error."""
        if isinstance(value, int | float):
            return float(value)
        found = _AGE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"expected a duration such as 90s, 30m, 24h or 7d, got {str(value)[:40]!r}", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


trusted_option = click.option(
    "--trusted-keys",
    "trusted",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of *.pub files, pinned outside the bundle: <data_dir>/keys, or a copy of it.",
)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@trusted_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--max-age", type=_Duration(), metavar="AGE", help="Stale beyond it: 3600, 90m, 24h, 7d.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Settings that the bundle must prove.")
@click.option("--code", type=click.Path(path_type=Path), metavar="DIR", help="Code that the bundle must prove.")
def verify(
    bundle: Path, trusted: Path, as_json: bool, max_age: float | None, config_file: Path | None, code: Path | None
) -> int:
    """Verify a session's evidence offline: signature, files, chain, gates; one line per check.

    BUNDLE is the directory evidence/SESSION_ID, or the envelope in it. Exit codes: 0 valid, 2 tampered or
    not trusted, 5 gates not passed, 3 stale, 4 does not match; 64 usage.
    """
    import msgspec

    from hybrid_platform.evidence.code_digest import find_package, tree_sha256
    from hybrid_platform.evidence.keys import load_trusted_keys
    from hybrid_platform.evidence.verify import Expectations, verify_bundle
    from hybrid_platform.settings.loading import load_settings, read_yaml
    from hybrid_platform.settings.session import NOT_TRADING

    settings = None if config_file is None else load_settings(read_yaml(config_file))
    expected = Expectations(
        time.time_ns(),
        max_age,
        None if settings is None else settings.trading_sha256,
        None if code is None else tree_sha256(find_package(code)),
        None if settings is None else settings.model_dump(mode="json", exclude=set(NOT_TRADING)),
    )
    result = verify_bundle(bundle, load_trusted_keys(trusted), expected)
    if as_json:
        content = {"verdict": result.code.name, "exit_code": int(result.code), **msgspec.to_builtins(result)}
        click.echo(json.dumps(content, indent=2))
    else:
        click.echo("\n".join(render_verification(result)))
    return int(result.code)


def render_verification(result: Verification) -> list[str]:
    """Return a verification as text: one line per check, then the verdict."""
    from hybrid_platform.security.redaction import to_printable

    lines = [f"{_MARKS[check.passed]:4}  {check.name:9}  {to_printable(check.detail, 500)}" for check in result.checks]
    return [*lines, f"{result.code.name}: {to_printable(result.bundle, 300)}, exit {int(result.code)}"]


@click.command("make-key")
@click.argument("path", type=click.Path(path_type=Path))
def make_key(path: Path) -> None:
    """Make an Ed25519 key pair: PATH (mode 0600), and PATH with the suffix .pub."""
    from hybrid_platform.evidence.keys import create_key

    signer = create_key(path)
    click.echo(f"{path}: key {signer.keyid}, public part {path.with_suffix('.pub')}")


@click.command()
@click.option("--only", multiple=True, metavar="ID", help="Only this id (S5, I2, G4 …); may be repeated. Not stored.")
@click.option("--timeout", type=_Duration(), default="1h", show_default=True, metavar="AGE", help="For all proofs.")
@config_option
@set_option
@data_dir_option
def matrix(
    only: tuple[str, ...], timeout: float, config_file: Path | None, assignments: tuple[str, ...], **flags: Any
) -> int:
    """Run every proof of the contract and write the verification matrix of this commit (G5).

    One line per scenario, invariant, gate and prohibition. Exits 0 if each is proved, otherwise 1. Runs the
    tests, so it needs a checkout with the packages that `make test` installs.
    """
    from hybrid_platform.analysis.matrix import matrix_lines, run_matrix, store_matrix
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.run.open import read_code_identity
    from hybrid_platform.security.paths import DataDir

    settings = read_settings(config_file, assignments, **flags)
    found = run_matrix(
        read_code_identity(), SystemClock(), only=tuple(each.upper() for each in only), timeout_s=timeout
    )
    click.echo("\n".join(matrix_lines(found)))
    if not only:
        click.echo(store_matrix(DataDir(settings.data_dir), found, settings.keys))
    return int(not found.holds)


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", "key", required=True, type=click.Path(path_type=Path), help="The operator's private key (PEM).")
@trusted_option
@click.option("--account", required=True, help="The venue's account that may be traded on.")
@click.option("--max-notional-usd", "notional", required=True, help="Upper limit for risk.max_exposure_usd.")
@click.option(
    "--valid-for",
    type=_Duration(),
    default="1h",
    show_default=True,
    metavar="AGE",
    help="From now; after that the token is void.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The token file; must not exist yet.")
@data_dir_option
def arm(
    bundles: tuple[Path, ...],
    key: Path,
    trusted: Path,
    account: str,
    notional: str,
    valid_for: float,
    out: Path,
    data_dir: str | None,
) -> int:
    """Sign that these BUNDLES may go live once: on one account, up to one notional, for one data directory.

    Every bundle is verified first. If one is not valid, nothing is armed and the command exits as verify does.
    """
    from hybrid_platform.domain.clocks import NS_PER_S
    from hybrid_platform.domain.decimals import canonical, parse_decimal
    from hybrid_platform.evidence.keys import load_signer, load_trusted_keys
    from hybrid_platform.evidence.verify import Expectations, verify_bundle
    from hybrid_platform.live.authorization import LiveAuthorization, new_nonce, sign_authorization
    from hybrid_platform.security.paths import DataDir, check_input_file, check_output_file

    try:
        maximum = parse_decimal(notional)
    except ValueError as error:
        raise click.UsageError(f"--max-notional-usd: {error}") from None
    target = check_output_file(out, "--out")
    if target.exists():
        raise click.UsageError(f"--out: expected no file, got {out}")
    now = time.time_ns()
    pinned = load_trusted_keys(trusted)
    results = [verify_bundle(bundle, pinned, Expectations(now)) for bundle in bundles]
    bad = next((result for result in results if result.code), None)
    if bad is not None:
        click.echo("\n".join(render_verification(bad)))
        return int(bad.code)
    encrypted = b"ENCRYPTED" in check_input_file(key, "--key").read_bytes()[:100]
    password = click.prompt("Passphrase", hide_input=True, err=True).encode() if encrypted else None
    authorization = LiveAuthorization(
        nonce=new_nonce(),
        bundles=tuple(sorted({str(result.sha256) for result in results})),
        account=account,
        max_notional_usd=maximum,
        data_dir=str(DataDir(data_dir or "data").root),
        issued_ns=now,
        expires_ns=now + int(valid_for * NS_PER_S),
    )
    content = sign_authorization(authorization, load_signer(key, "--key", password))
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    click.echo(
        f"{out}: armed once for {account}, up to {canonical(maximum)} USD, in {authorization.data_dir}, on the proof of"
    )
    for digest in authorization.bundles:
        click.echo(f"  {digest}")
    return 0


COMMANDS = (verify, make_key, matrix, arm)
