"""The conditions of the LIVE gate, one small function each: what it found, or an error that says what is unmet.

in: a `Case` · out: a detail for the evidence · raises `UnmetError`, or whatever judging raises: both deny.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.domain.isolation import Enforced
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.matrix import read_matrix
from hybrid_platform.evidence.verify import VerifyCode
from hybrid_platform.live.authorization import is_spent
from hybrid_platform.live.inputs import Case, UnmetError
from hybrid_platform.settings.session import Mode

Data = dict[str, Any]


def _need(holds: object, expected: str, was: object) -> None:
    if not holds:
        raise UnmetError(f"expected {expected}, got {was}")


def _each(case: Case, expected: str, holds: Callable[[Data], bool], was: Callable[[Data], Any]) -> str:
    """Hold every bundle against a condition; the first that does not meet it is named."""
    for predicate in case.proof:
        _need(holds(predicate), expected, f"{was(predicate)} in {predicate['session']['session_id']}")
    return f"{expected}, in each of {len(case.proof)}"


def _checked(case: Case, name: str, expected: str) -> str:
    """Hold every bundle against one of the checks of `verify`."""
    for bundle in case.believed:
        wrong = [check.detail for check in bundle.failed if check.name == name]
        _need(not wrong, expected, f"{'; '.join(wrong)} in {bundle.bundle}")
    return f"{expected}, each of {len(case.believed)}"


def _live_armed(case: Case) -> str:
    _need(case.settings.live_armed, "true, set in the run's own settings", case.settings.live_armed)
    return "true"


def _live_feed(case: Case) -> str:
    kind = case.settings.feed.kind
    _need(kind == "websocket", "a feed from a venue (websocket), for orders must not follow recorded data", kind)
    return kind


def _live_isolation(case: Case) -> str:
    _need(case.settings.isolation == "process", "isolation: process", case.settings.isolation)
    return "process"


def _proof_bundle(case: Case) -> str:
    wrong = [f"{each.failed[0].detail} in {each.bundle}" for each in case.verified if each.code is VerifyCode.UNTRUSTED]
    _need(not wrong, "bundles that verify", "; ".join(wrong))
    return f"{len(case.verified)} verify"


def _bundle_gates(case: Case) -> str:
    return _checked(case, "gates", "exactly the gates G0 to G5 and all four steps PASS")


def _bundle_age(case: Case) -> str:
    return _checked(case, "age", f"sealed at most {case.live.max_age_hours} hours ago")


def _bundle_modes(case: Case) -> str:
    modes = {Mode.SHADOW.value, Mode.PAPER.value}
    return _each(
        case, "SHADOW or PAPER", lambda proof: proof["session"]["mode"] in modes, lambda proof: proof["session"]["mode"]
    )


def _zero_violations(case: Case) -> str:
    def holds(proof: Data) -> bool:
        session, counts = proof["session"], proof["counts"]
        clean = session["clean"] is True and session["exit_code"] == 0 and session["state"] == "COMPLETE"
        beats = counts["heartbeats"]
        on_time = beats["beaten"] > 0 and not beats["late"] and not beats["missing"]
        kept = counts["ledger_balances"] is True and not counts["persist_errors"]
        return clean and on_time and kept and not session["reasons"]

    return _each(case, "a clean session without a violation", holds, lambda proof: proof["session"]["reasons"] or "one")


def _isolation(case: Case) -> str:
    wanted = Enforced.KERNEL_PROCESS.value
    return _each(
        case,
        f"isolation {wanted}",
        lambda proof: proof["isolation"]["enforced"] == wanted,
        lambda proof: proof["isolation"]["enforced"],
    )


def _denied_attempts(case: Case) -> str:
    def holds(proof: Data) -> bool:
        isolation = proof["isolation"]
        return isolation["denied_attempts"] == 0 and isolation["kernel_counts"] is True

    return _each(case, "no denied attempt, counted by the kernel", holds, lambda proof: proof["isolation"])


def _bundle_pressure(case: Case) -> str:
    def holds(proof: Data) -> bool:
        return [proof["host"][when]["pressure"] for when in ("before", "after")] == ["PASS", "PASS"]

    return _each(case, "CPU pressure PASS by PSI, before and after", holds, lambda proof: proof["host"])


def _host_pressure(case: Case) -> str:
    gate = case.request.pressure
    _need(gate.verdict is Verdict.PASS, "CPU pressure of this host PASS by PSI", f"{gate.verdict} ({gate.why})")
    return f"{gate.last.percent} % of {gate.limit} %"


def _sessions(case: Case) -> str:
    found = len({proof["session"]["session_id"] for proof in case.proof})
    _need(found >= case.live.min_sessions, f"at least {case.live.min_sessions} different sessions", found)
    return f"{found} of at least {case.live.min_sessions}"


def _at_least(name: str, of: Callable[[Data], float], setting: str) -> Callable[[Case], str]:
    """Return a condition on a figure summed over different sessions."""

    def condition(case: Case) -> str:
        least = getattr(case.live, setting)
        found = sum({proof["session"]["session_id"]: of(proof) for proof in case.proof}.values())
        _need(found >= least, f"at least {least} {name} (gates.live.{setting})", f"{found:g}")
        return f"{found:g} {name} of at least {least}"

    return condition


def _same_code(case: Case) -> str:
    now = case.request.code
    is_known = now.commit and now.dirty is False and now.sha256
    _need(is_known, "code at a commit, not dirty", f"{now.commit}, dirty {now.dirty}")

    def holds(proof: Data) -> bool:
        then = proof["code"]
        return (then["commit"], then["dirty"], then["sha256"]) == (now.commit, False, now.sha256)

    return _each(case, f"the same code, {now.commit}, not dirty", holds, lambda proof: proof["code"])


def _same_trading(case: Case) -> str:
    wanted = case.settings.trading_sha256
    return _each(
        case,
        f"trading_sha256 {wanted}",
        lambda proof: proof["config"]["trading_sha256"] == wanted,
        lambda proof: proof["config"]["trading_sha256"],
    )


def _same_strategy(case: Case) -> str:
    now = strategy_sha256(case.settings.strategy.name)
    _need(now, f"the code of strategy {case.settings.strategy.name} to be found", "not found")
    return _each(
        case,
        f"strategy code {now}, before and after",
        lambda proof: (proof["strategy"]["sha256_before"], proof["strategy"]["sha256_after"]) == (now, now),
        lambda proof: proof["strategy"],
    )


def _full_matrix(case: Case) -> str:
    code = case.request.code
    _need(code.commit, "code at a commit", code.commit)
    try:
        matrix = read_matrix(case.request.data_dir, str(code.commit), case.trusted)
    except FileNotFoundError:
        raise UnmetError(f"expected the matrix of {code.commit} (hybrid-platform matrix), got none") from None
    same = (matrix.commit, matrix.dirty, matrix.code_sha256) == (code.commit, False, code.sha256)
    _need(same, f"a matrix of {code.commit}", f"of {matrix.commit}, dirty {matrix.dirty}")
    _need(matrix.is_full, "a full matrix", "; ".join((*matrix.faults, f"unproved: {', '.join(matrix.unproved)}")))
    return f"{len(matrix.rows)} rows PASS"


def _kill_switch(case: Case) -> str:
    _need(case.request.kill_switch is None, "clear", case.request.kill_switch)
    return "clear"


def _arming(case: Case) -> str:
    """The token: signed by an operator who is not the platform itself, in time, for here, and not used before."""
    arming, keyid, operator = case.armed
    _need(keyid not in case.trusted.keys, "an operator's key, none that signs bundles", operator)
    now = case.request.now_ns
    late_s = (now - arming.expires_ns) / NS_PER_S
    _need(arming.issued_ns <= now < arming.expires_ns, "a token in its time", f"one that ends {-late_s:.0f} s from now")
    here = str(case.request.data_dir.root)
    _need(arming.data_dir == here, f"a token for {here}", arming.data_dir)
    _need(not is_spent(case.request.data_dir, arming), "a token not used before", "one that was")
    return f"by {operator}"


def _armed_bundles(case: Case) -> str:
    digests = tuple(sorted({str(bundle.sha256) for bundle in case.believed}))
    _need(case.armed.arming.bundles == digests, f"a token for the bundles {digests}", case.armed.arming.bundles)
    return f"{len(digests)} bundles"


def _armed_account(case: Case) -> str:
    armed, wanted = case.armed.arming.account, case.live.account
    _need(wanted is not None and armed == wanted, f"a token for the account {wanted} (gates.live.account)", armed)
    return armed


def _armed_notional(case: Case) -> str:
    armed, wanted = case.armed.arming.max_notional_usd, case.settings.risk.max_exposure_usd
    _need(wanted <= armed, "risk.max_exposure_usd within the token's maximum notional", f"{wanted} of {armed}")
    return f"{wanted} of {armed} USD"


def _live_adapter(case: Case) -> str:
    return f"{case.adapter_class.__module__}:{case.adapter_class.__qualname__}"


CONDITIONS: dict[str, Callable[[Case], str]] = {
    "live_armed": _live_armed,
    "live_feed": _live_feed,
    "live_isolation": _live_isolation,
    "kill_switch": _kill_switch,
    "host_pressure": _host_pressure,
    "proof_bundle": _proof_bundle,
    "bundle_gates": _bundle_gates,
    "bundle_age": _bundle_age,
    "bundle_modes": _bundle_modes,
    "bundle_pressure": _bundle_pressure,
    "bundle_violations": _zero_violations,
    "bundle_isolation": _isolation,
    "bundle_denied_attempts": _denied_attempts,
    "bundle_sessions": _sessions,
    "bundle_seconds": _at_least("seconds", lambda proof: proof["times"]["pipeline_s"], "min_seconds"),
    "bundle_ticks": _at_least("ticks", lambda proof: proof["counts"]["ticks"], "min_ticks"),
    "bundle_trades": _at_least("trades", lambda proof: proof["counts"]["trades"], "min_trades"),
    "same_code": _same_code,
    "same_trading": _same_trading,
    "same_strategy": _same_strategy,
    "full_matrix": _full_matrix,
    "arming": _arming,
    "armed_bundles": _armed_bundles,
    "armed_account": _armed_account,
    "armed_notional": _armed_notional,
    "live_adapter": _live_adapter,
}
"""Name -> condition, in the order in which a refusal names them."""
