"""Offline verification of a bundle with pinned public keys, one result per check (G5).

in: a bundle's directory, pinned keys, and the expected settings, code and age · out: a `Verification` with the exit
code. The signature is verified before the payload is parsed; a check that cannot be judged fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.contract import GATE_IDS
from hybrid_platform.domain.errors import EvidenceError, PlatformError
from hybrid_platform.evidence.bundle import ENVELOPE, MANIFEST, inventory, read_chain, read_if_there
from hybrid_platform.evidence.dsse import Envelope, VerifiedPayload, parse_envelope, verified_payload
from hybrid_platform.evidence.files import encode_record, sha256_bytes, sha256_file
from hybrid_platform.evidence.keys import TrustedKeys
from hybrid_platform.evidence.predicate import PREDICATE_TYPE, STEPS, build_predicate
from hybrid_platform.evidence.records import parse_session_files
from hybrid_platform.evidence.statement import PAYLOAD_TYPE, Statement, parse_statement
from hybrid_platform.security.paths import DataDir

NOT_STATED = "not stated"
CLOCK_TOLERANCE_S = 300
"""How far in the future a bundle may be sealed, because the clocks of two machines differ."""


class VerifyCode(IntEnum):
    """Exit codes of ``hybrid-platform verify``; the first that applies, in this order."""

    VALID = 0
    UNTRUSTED = 2
    GATES = 5
    STALE = 3
    MISMATCH = 4


class BundleCheck(msgspec.Struct, frozen=True):
    """The result of one check."""

    name: str
    passed: bool | None
    """None if the check was not judged, because an earlier one failed."""
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """The results of all checks of a bundle, and the exit code that follows from them."""

    bundle: str
    code: VerifyCode
    checks: tuple[BundleCheck, ...]
    sha256: str | None = None
    """Digest of the bundle; None if it cannot be trusted."""
    key: str | None = None
    """File name of the pinned key that signed it."""
    predicate: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def failed(self) -> tuple[BundleCheck, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if check.passed is False)


class Expectations(NamedTuple):
    """Expected properties of a bundle; those that are None are not checked."""

    now_ns: int
    """Wall clock."""
    max_age_s: float | None = None
    trading_sha256: str | None = None
    code_sha256: str | None = None
    settings: Mapping[str, Any] | None = None
    """The settings of ``trading_sha256``, so that a mismatch can list the keys that differ."""


class _CheckError(Exception):
    """A check failed; the message is its detail."""


def verify_bundle(path: str | Path, trusted: TrustedKeys, expected: Expectations) -> Verification:
    """Check a bundle (its directory, or the envelope in it); no content of the bundle raises an error."""
    return _Verifier(Path(path), trusted, expected).run()


class _Verifier:
    """One verification; each check uses the results of the checks before it."""

    def __init__(self, path: Path, trusted: TrustedKeys, expected: Expectations) -> None:
        self._path = path.parent if path.name in {ENVELOPE, MANIFEST} else path
        self._trusted, self._expected = trusted, expected
        self._checks: list[BundleCheck] = []
        self._folder: DataDir
        self._unverified: Envelope
        self._opened: VerifiedPayload
        self._payload: Statement

    def run(self) -> Verification:
        """Run every check that can be judged, and return the results."""
        trust = (
            self._envelope,
            self._signature,
            self._statement,
            self._manifest,
            self._files,
            self._chain,
            self._records,
        )
        trusted = True
        for check in trust:
            trusted = self._judge(check, skip=not trusted)
        code = VerifyCode.VALID if trusted else VerifyCode.UNTRUSTED
        asked: list[tuple[Callable[[], str], VerifyCode]] = [(self._gates, VerifyCode.GATES)]
        if self._expected.max_age_s is not None:
            asked.append((self._age, VerifyCode.STALE))
        if self._expected.trading_sha256 is not None:
            asked.append((self._config, VerifyCode.MISMATCH))
        if self._expected.code_sha256 is not None:
            asked.append((self._code, VerifyCode.MISMATCH))
        for check, otherwise in asked:
            if not self._judge(check, skip=not trusted) and code is VerifyCode.VALID:
                code = otherwise
        known = (sha256_bytes(self._opened.payload), self._opened.key_name, self._payload.predicate) if trusted else ()
        return Verification(str(self._path), code, tuple(self._checks), *known)

    def _judge(self, check: Callable[[], str], *, skip: bool) -> bool:
        name = check.__name__.removeprefix("_")
        if skip:
            self._checks.append(BundleCheck(name, None, "not judged: the bundle cannot be trusted"))
            return False
        try:
            found = BundleCheck(name, True, check())
        except (_CheckError, PlatformError) as error:
            found = BundleCheck(name, False, " ".join(str(error).split())[:500])
        except Exception as error:  # a check that cannot be judged fails
            found = BundleCheck(name, False, f"could not be judged: {type(error).__name__}: {error}"[:500])
        self._checks.append(found)
        return bool(found.passed)

    def _envelope(self) -> str:
        """Read the envelope, without trusting its content."""
        if not self._path.is_dir():
            raise _CheckError(f"{self._path}: expected the directory of a bundle, got none")
        self._folder = DataDir(self._path)
        content = read_if_there(self._folder, ENVELOPE)
        if content is None:
            raise _CheckError(f"{ENVELOPE}: expected the signed envelope, got missing")
        self._unverified = parse_envelope(content, ENVELOPE)
        return f"{ENVELOPE}, {len(content)} bytes"

    def _signature(self) -> str:
        self._opened = verified_payload(self._unverified, PAYLOAD_TYPE, self._trusted)
        return f"Ed25519, by {self._opened.key_name} ({self._opened.keyid})"

    def _statement(self) -> str:
        self._payload = parse_statement(self._opened.payload, PREDICATE_TYPE)
        return f"session {self._session_id}, sealed {self._payload.predicate['sealed']['wall']}"

    def _manifest(self) -> str:
        if read_if_there(self._folder, MANIFEST) != self._opened.payload:
            raise _CheckError(f"{MANIFEST}: expected the signed bytes, got a missing or different file")
        return f"SHA-256 {sha256_bytes(self._opened.payload)}"

    def _files(self) -> str:
        digests = self._payload.digests()
        there = set(inventory(self._folder))
        wrong = [f"{name}: missing" for name in sorted(set(digests) - there)]
        wrong += [f"{name!r}: not in the bundle" for name in sorted(there - set(digests))]
        for name in sorted(there & set(digests)):
            was = sha256_file(self._folder, name)
            if was != digests[name]:
                wrong.append(f"{name}: expected SHA-256 {digests[name][:16]}…, got {was[:16]}…")
        if wrong:
            raise _CheckError("; ".join(wrong))
        return f"{len(digests)} files as signed, none missing, none more"

    def _chain(self) -> str:
        chain, signed = read_chain(self._folder, self._session_id), self._payload.predicate["chain"]
        if (chain.entries, chain.head) != (signed["entries"], signed["head"]):
            was = f"{chain.entries}, {chain.head}"
            raise _CheckError(f"expected {signed['entries']} events, head {signed['head']}, got {was}")
        return f"{chain.entries} events, head {chain.head}"

    def _records(self) -> str:
        """Build the predicate again from the files and compare it with the signed one."""
        files = parse_session_files(lambda name: read_if_there(self._folder, name))
        rebuilt = build_predicate(files, read_chain(self._folder, self._session_id))
        signed = {name: value for name, value in self._payload.predicate.items() if name != "sealed"}
        if encode_record(rebuilt) != encode_record(signed):
            differing = sorted(
                name for name in {*rebuilt, *signed} if not _is_same(rebuilt.get(name), signed.get(name))
            )
            raise _CheckError(
                f"expected the signed predicate to follow from the files, got differences in {', '.join(differing)}"
            )
        return "the signed predicate follows from the files"

    def _gates(self) -> str:
        gates, steps = self._payload.predicate["gates"], self._payload.predicate["steps"]
        expected: dict[str, str] = {**dict.fromkeys(STEPS, "PASS"), **dict.fromkeys(GATE_IDS, "PASS")}
        was = {**steps, **gates}
        wrong = [f"{name} {was.get(name, 'missing')}" for name in expected if was.get(name) != "PASS"]
        wrong += [f"{name[:40]!r} unknown" for name in was if name not in expected]
        if wrong:
            reasons = self._payload.predicate["session"]["reasons"]
            raise _CheckError(
                f"expected {len(expected)} PASS, got {', '.join(wrong)}" + "".join(f"; {r}" for r in reasons)
            )
        return f"{', '.join(GATE_IDS)} and {', '.join(STEPS)} PASS"

    def _age(self) -> str:
        age_s = (self._expected.now_ns - sealed_ns(self._payload.predicate)) / NS_PER_S
        limit = self._expected.max_age_s
        if limit is None or not -CLOCK_TOLERANCE_S <= age_s <= limit:
            raise _CheckError(f"expected at most {limit:g} s since it was sealed, got {age_s:.0f} s")
        return f"sealed {age_s:.0f} s ago, at most {limit:g} s"

    def _config(self) -> str:
        was = self._payload.predicate["config"]["trading_sha256"]
        if was != self._expected.trading_sha256:
            differing = "; ".join(self._differing()) or "the bundle does not show which keys"
            raise _CheckError(f"{differing}: expected trading_sha256 {self._expected.trading_sha256}, got {was}")
        return f"trading_sha256 {was}"

    def _differing(self) -> Iterator[str]:
        """Yield the settings that differ from those in the bundle's preflight evidence."""
        files = parse_session_files(lambda name: read_if_there(self._folder, name))
        if self._expected.settings is not None and files.preflight is not None:
            found = files.preflight.settings
            yield from _differences(
                "", self._expected.settings, {key: found.get(key) for key in self._expected.settings}
            )

    def _code(self) -> str:
        code = self._payload.predicate["code"]
        if code["sha256"] is None or code["sha256"] != self._expected.code_sha256:
            raise _CheckError(f"expected code {self._expected.code_sha256}, got {code['sha256']}")
        return f"code {code['sha256']}, {code['version']} at {code['commit'] or 'no commit'}"

    @property
    def _session_id(self) -> str:
        return str(self._payload.predicate["session"]["session_id"])


def _differences(path: str, expected: Any, was: Any) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(was, Mapping):
        for key in sorted({*expected, *was}):
            below = f"{path}.{key}" if path else str(key)
            yield from _differences(below, expected.get(key, NOT_STATED), was.get(key, NOT_STATED))
    elif expected != was:
        yield f"{path}: expected {_short(expected)}, got {_short(was)}"


def _short(value: Any) -> str:
    return NOT_STATED if value is NOT_STATED else json.dumps(value, default=str)[:80]


def sealed_ns(predicate: dict[str, Any]) -> int:
    """Return the wall-clock time at which a bundle was sealed; raise EvidenceError without a valid time."""
    try:
        moment = datetime.fromisoformat(predicate["sealed"]["wall"])
    except (KeyError, TypeError, ValueError) as error:
        raise EvidenceError(f"sealed: expected a time, got {error}") from None
    return int(moment.timestamp() * NS_PER_S)


def _is_same(one: Any, other: Any) -> bool:
    return encode_record({"": one}) == encode_record({"": other})
