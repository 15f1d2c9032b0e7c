"""The conditions of the LIVE gate, one small function each (G1, S14, L1).

in: `LiveGateInputs` · out: a finding for the evidence. A condition that is not met raises UnmetConditionError; the gate
denies for any other exception too. SHADOW and PAPER sessions alone can meet every condition on evidence.
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
from hybrid_platform.live.authorization import is_consumed
from hybrid_platform.live.inputs import LiveGateInputs, UnmetConditionError
from hybrid_platform.settings.session import Mode

Data = dict[str, Any]


def _require(holds: object, expected: str, found: object) -> None:
    if not holds:
        raise UnmetConditionError(f"expected {expected}, got {found}")


def _require_each(
    inputs: LiveGateInputs, expected: str, holds: Callable[[Data], bool], found: Callable[[Data], Any]
) -> str:
    """Check a condition on every bundle; the error names the first bundle that does not meet it."""
    for predicate in inputs.predicates:
        _require(holds(predicate), expected, f"{found(predicate)} in {predicate['session']['session_id']}")
    return f"{expected}, in each of {len(inputs.predicates)}"


def _require_check(inputs: LiveGateInputs, name: str, expected: str) -> str:
    """Require that every bundle passed one of the checks of its verification."""
    for bundle in inputs.trusted_bundles:
        failed = [check.detail for check in bundle.failed if check.name == name]
        _require(not failed, expected, f"{'; '.join(failed)} in {bundle.bundle}")
    return f"{expected}, each of {len(inputs.trusted_bundles)}"


def _live_armed(inputs: LiveGateInputs) -> str:
    _require(inputs.settings.live_armed, "true, set in the run's own settings", inputs.settings.live_armed)
    return "true"


def _live_feed(inputs: LiveGateInputs) -> str:
    kind = inputs.settings.feed.kind
    _require(kind == "websocket", "a feed from a venue (websocket), because orders must not follow recorded data", kind)
    return kind


def _live_isolation(inputs: LiveGateInputs) -> str:
    _require(inputs.settings.isolation == "process", "isolation: process", inputs.settings.isolation)
    return "process"


def _proof_bundle(inputs: LiveGateInputs) -> str:
    failed = [
        f"{each.failed[0].detail} in {each.bundle}"
        for each in inputs.verified_bundles
        if each.code is VerifyCode.UNTRUSTED
    ]
    _require(not failed, "bundles that verify", "; ".join(failed))
    return f"{len(inputs.verified_bundles)} verify"


def _bundle_gates(inputs: LiveGateInputs) -> str:
    return _require_check(inputs, "gates", "exactly the gates G0 to G5 and all four steps PASS")


def _bundle_age(inputs: LiveGateInputs) -> str:
    return _require_check(inputs, "age", f"sealed at most {inputs.live.max_age_hours} hours ago")


def _bundle_modes(inputs: LiveGateInputs) -> str:
    modes = {Mode.SHADOW.value, Mode.PAPER.value}
    return _require_each(
        inputs,
        "SHADOW or PAPER",
        lambda predicate: predicate["session"]["mode"] in modes,
        lambda predicate: predicate["session"]["mode"],
    )


def _zero_violations(inputs: LiveGateInputs) -> str:
    def holds(predicate: Data) -> bool:
        session, counts = predicate["session"], predicate["counts"]
        clean = session["clean"] is True and session["exit_code"] == 0 and session["state"] == "COMPLETE"
        beats = counts["heartbeats"]
        on_time = beats["beaten"] > 0 and not beats["late"] and not beats["missing"]
        kept = counts["ledger_balances"] is True and not counts["persist_errors"]
        return clean and on_time and kept and not session["reasons"]

    return _require_each(
        inputs,
        "a clean session without a violation",
        holds,
        lambda predicate: predicate["session"]["reasons"] or "a violation",
    )


def _isolation(inputs: LiveGateInputs) -> str:
    expected = Enforced.KERNEL_PROCESS.value
    return _require_each(
        inputs,
        f"isolation {expected}",
        lambda predicate: predicate["isolation"]["enforced"] == expected,
        lambda predicate: predicate["isolation"]["enforced"],
    )


def _denied_attempts(inputs: LiveGateInputs) -> str:
    def holds(predicate: Data) -> bool:
        isolation = predicate["isolation"]
        return isolation["denied_attempts"] == 0 and isolation["kernel_counts"] is True

    return _require_each(
        inputs, "no denied attempt, counted by the kernel", holds, lambda predicate: predicate["isolation"]
    )


def _bundle_pressure(inputs: LiveGateInputs) -> str:
    def holds(predicate: Data) -> bool:
        return [predicate["host"][when]["pressure"] for when in ("before", "after")] == ["PASS", "PASS"]

    return _require_each(
        inputs, "CPU pressure PASS by PSI, before and after", holds, lambda predicate: predicate["host"]
    )


def _host_pressure(inputs: LiveGateInputs) -> str:
    gate = inputs.request.pressure
    _require(gate.verdict is Verdict.PASS, "CPU pressure of this host PASS by PSI", f"{gate.verdict} ({gate.why})")
    return f"{gate.last.percent} % of {gate.limit} %"


def _sessions(inputs: LiveGateInputs) -> str:
    found = len({predicate["session"]["session_id"] for predicate in inputs.predicates})
    _require(found >= inputs.live.min_sessions, f"at least {inputs.live.min_sessions} different sessions", found)
    return f"{found} of at least {inputs.live.min_sessions}"


def _at_least(name: str, figure: Callable[[Data], float], setting: str) -> Callable[[LiveGateInputs], str]:
    """Return a condition on a figure summed over different sessions."""

    def condition(inputs: LiveGateInputs) -> str:
        least = getattr(inputs.live, setting)
        found = sum({predicate["session"]["session_id"]: figure(predicate) for predicate in inputs.predicates}.values())
        _require(found >= least, f"at least {least} {name} (gates.live.{setting})", f"{found:g}")
        return f"{found:g} {name} of at least {least}"

    return condition


def _same_code(inputs: LiveGateInputs) -> str:
    now = inputs.request.code
    is_known = now.commit and now.dirty is False and now.sha256
    _require(is_known, "code at a commit, not dirty", f"{now.commit}, dirty {now.dirty}")

    def holds(predicate: Data) -> bool:
        then = predicate["code"]
        return (then["commit"], then["dirty"], then["sha256"]) == (now.commit, False, now.sha256)

    return _require_each(inputs, f"the same code, {now.commit}, not dirty", holds, lambda predicate: predicate["code"])


def _same_trading(inputs: LiveGateInputs) -> str:
    expected = inputs.settings.trading_sha256
    return _require_each(
        inputs,
        f"trading_sha256 {expected}",
        lambda predicate: predicate["config"]["trading_sha256"] == expected,
        lambda predicate: predicate["config"]["trading_sha256"],
    )


def _same_strategy(inputs: LiveGateInputs) -> str:
    now = strategy_sha256(inputs.settings.strategy.name)
    _require(now, f"the code of strategy {inputs.settings.strategy.name} to be found", "not found")
    return _require_each(
        inputs,
        f"strategy code {now}, before and after",
        lambda predicate: (predicate["strategy"]["sha256_before"], predicate["strategy"]["sha256_after"]) == (now, now),
        lambda predicate: predicate["strategy"],
    )


def _full_matrix(inputs: LiveGateInputs) -> str:
    code = inputs.request.code
    _require(code.commit, "code at a commit", code.commit)
    try:
        matrix = read_matrix(inputs.request.data_dir, str(code.commit), inputs.trusted_keys)
    except FileNotFoundError:
        raise UnmetConditionError(f"expected the matrix of {code.commit} (hybrid-platform matrix), got none") from None
    same = (matrix.commit, matrix.dirty, matrix.code_sha256) == (code.commit, False, code.sha256)
    _require(same, f"a matrix of {code.commit}", f"of {matrix.commit}, dirty {matrix.dirty}")
    _require(matrix.is_full, "a full matrix", "; ".join((*matrix.faults, f"unproved: {', '.join(matrix.unproved)}")))
    return f"{len(matrix.rows)} rows PASS"


def _kill_switch(inputs: LiveGateInputs) -> str:
    _require(inputs.request.kill_switch is None, "clear", inputs.request.kill_switch)
    return "clear"


def _arming(inputs: LiveGateInputs) -> str:
    """Require a token that an operator signed, valid now and in this data directory, and not used before."""
    authorization, keyid, operator = inputs.signed_authorization
    _require(keyid not in inputs.trusted_keys.keys, "an operator's key that signs no bundles", operator)
    now, issued, expires = inputs.request.now_ns, authorization.issued_ns, authorization.expires_ns
    _require(issued <= now < expires, "a token that is valid now", f"one valid {_relative_s(issued, expires, now)}")
    data_dir = str(inputs.request.data_dir.root)
    _require(authorization.data_dir == data_dir, f"a token for {data_dir}", authorization.data_dir)
    _require(
        not is_consumed(inputs.request.data_dir, authorization), "a token not used before", "one that was used before"
    )
    return f"by {operator}"


def _relative_s(issued_ns: int, expires_ns: int, now_ns: int) -> str:
    begins_s, ends_s = ((instant - now_ns) / NS_PER_S for instant in (issued_ns, expires_ns))
    return f"from {begins_s:+.0f} s to {ends_s:+.0f} s, relative to now"


def _armed_bundles(inputs: LiveGateInputs) -> str:
    digests = tuple(sorted({str(bundle.sha256) for bundle in inputs.trusted_bundles}))
    authorized = inputs.signed_authorization.authorization.bundles
    _require(authorized == digests, f"a token for the bundles {digests}", authorized)
    return f"{len(digests)} bundles"


def _armed_account(inputs: LiveGateInputs) -> str:
    authorized, configured = inputs.signed_authorization.authorization.account, inputs.live.account
    _require(
        configured is not None and authorized == configured,
        f"a token for the account {configured} (gates.live.account)",
        authorized,
    )
    return authorized


def _armed_notional(inputs: LiveGateInputs) -> str:
    authorized = inputs.signed_authorization.authorization.max_notional_usd
    configured = inputs.settings.risk.max_exposure_usd
    _require(
        configured <= authorized,
        "risk.max_exposure_usd within the token's maximum notional",
        f"{configured} of {authorized}",
    )
    return f"{configured} of {authorized} USD"


def _live_adapter(inputs: LiveGateInputs) -> str:
    return f"{inputs.adapter_class.__module__}:{inputs.adapter_class.__qualname__}"


CONDITIONS: dict[str, Callable[[LiveGateInputs], str]] = {
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
    "bundle_seconds": _at_least("seconds", lambda predicate: predicate["times"]["pipeline_s"], "min_seconds"),
    "bundle_ticks": _at_least("ticks", lambda predicate: predicate["counts"]["ticks"], "min_ticks"),
    "bundle_trades": _at_least("trades", lambda predicate: predicate["counts"]["trades"], "min_trades"),
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
"""The conditions, in the order in which a refusal lists them."""
