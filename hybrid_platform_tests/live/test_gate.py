"""The LIVE gate opens when every condition holds, and stays shut when any one is broken.

`TRUTH` is the truth table: a name, a change that breaks the world, and the conditions that are then unmet. Helpers that
return such changes:
`to`, `live`      set fields of the world, or settings of ``gates.live``
`record`          change an evidence record of the last session; `session`, `counters`, `isolation`, `heartbeats`, and
                  `gate` change parts of one
`matrix`, `row`   change the verification matrix or its rows; `arming` changes the token
`later`           run after everything was written; `everywhere` changes all records of a bundle
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.contract import GATE_IDS
from hybrid_platform.domain.errors import ExitCode, GateRefused
from hybrid_platform.domain.isolation import Denied, Enforced, Kind
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.records import ProofVerdict
from hybrid_platform.live.conditions import CONDITIONS
from hybrid_platform.live.gate import live_conditions, release
from hybrid_platform.settings.session import Mode
from hybrid_platform_tests.live.world import ACCOUNT, CODE, World, pressure, replaced
from hybrid_platform_tests.support import REPOSITORY, run_cli

pytestmark = pytest.mark.scenario("S14", "G1", "L1")
Breaks = Callable[[World], None]

BUNDLE = {name for name in CONDITIONS if name.startswith("bundle_")}
NEEDS_PROOF = {*BUNDLE, "same_code", "same_trading", "same_strategy", "armed_bundles"}
TOKEN = {"arming", "armed_bundles", "armed_account", "armed_notional"}


def to(**fields: Any) -> Breaks:
    def change(world: World) -> None:
        for name, value in fields.items():
            setattr(world, name, value)

    return change


def live(**demands: Any) -> Breaks:
    return lambda world: world.live.update(demands)


def record(kind: str, change: Callable[[Any], Any]) -> Breaks:
    """Break one record, on top of what another fault has already broken of it."""

    def add(world: World) -> None:
        before = world.change.get(kind)
        world.change[kind] = change if before is None else lambda found: change(before(found))

    return add


def session(**fields: Any) -> Breaks:
    return record("session", lambda found: replaced(found, **fields))


def counters(**fields: Any) -> Breaks:
    return record("session", lambda found: replaced(found, counters={**found.counters, **fields}))


def isolation(**fields: Any) -> Breaks:
    return record("session", lambda found: replaced(found, isolation=replaced(found.isolation, **fields)))


def heartbeats(**fields: Any) -> Breaks:
    return record("session", lambda found: replaced(found, heartbeats=replaced(found.heartbeats, **fields)))


def gate(gate_id: str, verdict: ProofVerdict | None) -> Breaks:
    def change(found: Any) -> Any:
        proofs = [replaced(each, verdict=verdict) if each.id == gate_id and verdict else each for each in found.proofs]
        return replaced(found, proofs=tuple(each for each in proofs if verdict or each.id != gate_id))

    return record("postflight", change)


def matrix(**fields: Any) -> Breaks:
    return to(matrix=lambda found: replaced(found, **fields))


def row(change: Callable[[Any], Any]) -> Breaks:
    return to(matrix=lambda found: replaced(found, rows=change(found.rows)))


def arming(**fields: Any) -> Breaks:
    return to(arming=lambda token: replaced(token, **fields))


def later(happen: Breaks) -> Breaks:
    return lambda world: world.late.append(happen)


def tamper(world: World) -> None:
    (world.bundles[0] / "report.md").write_text("a file more")


def spent(world: World) -> None:
    world.data.write_atomic(f"control/spent/{world.armed.nonce}", b"")


def everywhere(**fields: Any) -> Breaks:
    """Change all records of one bundle, which belong to one run."""

    def change(world: World) -> None:
        for kind in ("preflight", "pragma", "session", "postflight"):
            record(kind, lambda found: replaced(found, **fields))(world)

    return change


DENIED = (Denied("kernel", Kind.SOCKET, "connect", "strategy", 1),)

TRUTH: dict[str, tuple[Breaks, set[str]]] = {
    "not armed": (lambda w: w.settings.update(live_armed=False), {"live_armed"}),
    "a synthetic feed": (lambda w: w.settings.update(feed={"synthetic": {}}), {"live_feed"}),
    "threads instead of a sandboxed process": (lambda w: w.settings.update(isolation="thread"), {"live_isolation"}),
    "a replay": (lambda w: w.settings.update(feed={"replay": {"path": "x.csv"}}), {"live_feed"}),
    "the kill switch is thrown": (to(kill_switch="HALT by ops: a test"), {"kill_switch"}),
    "CPU pressure too high here": (to(host=pressure(Verdict.FAIL)), {"host_pressure"}),
    "no PSI here": (to(host=pressure(Verdict.UNAVAILABLE)), {"host_pressure"}),
    "the pressure gate is off here": (to(host=pressure(Verdict.NOT_RUN)), {"host_pressure"}),
    "no bundle": (live(bundles=[]), {"proof_bundle", *NEEDS_PROOF}),
    "a bundle that is not there": (live(bundles=["nowhere"]), {"proof_bundle", *NEEDS_PROOF}),
    "a bundle with a file more": (later(tamper), {"proof_bundle", *NEEDS_PROOF}),
    "bundles signed by a stranger": (to(bundle_key="stranger"), {"proof_bundle", *NEEDS_PROOF}),
    **{f"{gate_id} FAIL": (gate(gate_id, ProofVerdict.FAIL), {"bundle_gates"}) for gate_id in GATE_IDS},
    "a gate NOT_RUN": (gate("G2", ProofVerdict.NOT_RUN), {"bundle_gates"}),
    "a gate missing": (gate("G3", None), {"bundle_gates"}),
    "a step that failed": (session(verdict=Verdict.FAIL), {"bundle_gates"}),
    "bundles too old": (to(sealed_s_ago=25 * 3600.0), {"bundle_age"}),
    "bundles from the future": (to(sealed_s_ago=-3600.0), {"bundle_age"}),
    "evidence of another mode": (
        record("preflight", lambda found: replaced(found, settings={**found.settings, "mode": "LIVE"})),
        {"bundle_modes"},
    ),
    "no PSI before a session": (
        record("preflight", lambda found: replaced(found, pressure=pressure(Verdict.UNAVAILABLE))),
        {"bundle_pressure"},
    ),
    "the pressure gate was off after a session": (
        record("postflight", lambda found: replaced(found, pressure=pressure(Verdict.NOT_RUN))),
        {"bundle_pressure"},
    ),
    "a reason not to pass": (session(reasons=("something",)), {"bundle_violations"}),
    "a session that ended badly": (session(exit_code=13), {"bundle_violations"}),
    "a session that failed": (session(state="FAILED"), {"bundle_violations"}),
    "a session without its clean marker": (session(clean=False), {"bundle_violations"}),
    "a late heartbeat": (heartbeats(late=1), {"bundle_violations"}),
    "a missing heartbeat": (heartbeats(missing=1), {"bundle_violations"}),
    "no heartbeat": (heartbeats(sent=0), {"bundle_violations"}),
    "a persist error": (counters(persist_errors=1), {"bundle_violations"}),
    "a ledger that does not balance": (
        record("session", lambda found: replaced(found, ledger=replaced(found.ledger, balances=False))),
        {"bundle_violations"},
    ),
    **{
        f"isolation {level.value}": (isolation(enforced=level), {"bundle_isolation"})
        for level in Enforced
        if level is not Enforced.KERNEL_PROCESS
    },
    "a denied attempt": (isolation(denied=DENIED), {"bundle_denied_attempts"}),
    "attempts that the kernel did not count": (isolation(kernel_counts=False), {"bundle_denied_attempts"}),
    "too few sessions": (live(min_sessions=4), {"bundle_sessions"}),
    "too short": (live(min_seconds=61), {"bundle_seconds"}),
    "too few ticks": (live(min_ticks=301), {"bundle_ticks"}),
    "too few trades": (live(min_trades=31), {"bundle_trades"}),
    "proof of other settings": (everywhere(trading_sha256="0" * 64), {"same_trading"}),
    "proof of other code": (everywhere(code=replaced(CODE, commit="0" * 40)), {"same_code"}),
    "dirty code": (lambda w: setattr(w, "code", replaced(w.code, dirty=True)), {"same_code"}),
    "code that no commit names": (
        lambda w: setattr(w, "code", replaced(w.code, commit=None)),
        {"same_code", "full_matrix"},
    ),
    "another commit": (
        lambda w: setattr(w, "code", replaced(w.code, commit="0" * 40)),
        {"same_code", "full_matrix"},
    ),
    "other files at the same commit": (
        lambda w: setattr(w, "code", replaced(w.code, sha256="0" * 64)),
        {"same_code", "full_matrix"},
    ),
    "strategy code changed while it ran": (session(strategy_sha256="0" * 64), {"same_strategy"}),
    "strategy code that was not known": (session(strategy_sha256=None), {"same_strategy"}),
    "strategy code changed since": (
        record("preflight", lambda found: replaced(found, strategy_sha256="0" * 64)),
        {"same_strategy"},
    ),
    "no matrix": (
        later(lambda w: next((w.folder / "data/evidence/matrix").glob("*.dsse.json")).unlink()),
        {"full_matrix"},
    ),
    "a matrix signed by a stranger": (to(matrix_key="stranger"), {"full_matrix"}),
    "a matrix of other code": (matrix(code_sha256="0" * 64), {"full_matrix"}),
    "a matrix with a fault": (matrix(faults=("a module that could not be imported",)), {"full_matrix"}),
    "a matrix without a row": (row(lambda rows: rows[:-1]), {"full_matrix"}),
    "a matrix with a row that failed": (
        row(lambda rows: (replaced(rows[0], verdict=Verdict.FAIL), *rows[1:])),
        {"full_matrix"},
    ),
    "a matrix with a row that was not run": (
        row(lambda rows: (*rows[:-1], replaced(rows[-1], verdict=Verdict.NOT_RUN))),
        {"full_matrix"},
    ),
    "no token": (live(token=None), TOKEN),
    "a token signed by a stranger": (to(operator_key="stranger"), TOKEN),
    "a token signed by the key that signs bundles": (to(operator_key="ours", operators=("ours",)), {"arming"}),
    "no operator": (to(operators=()), TOKEN),
    "a token that is over": (arming(expires_ns=1), {"arming"}),
    "a token whose time has not come": (arming(issued_ns=2**62), {"arming"}),
    "a token for another directory": (arming(data_dir="/elsewhere"), {"arming"}),
    "a token that was used": (later(spent), {"arming"}),
    "a token for another proof": (arming(bundles=("0" * 64,)), {"armed_bundles"}),
    "a token for less proof": (
        to(arming=lambda token: replaced(token, bundles=token.bundles[1:])),
        {"armed_bundles"},
    ),
    "a token for another account": (arming(account="another-account"), {"armed_account"}),
    "no account in the settings": (live(account=None), {"armed_account"}),
    "a token for less money": (arming(max_notional_usd=Decimal("9999.99")), {"armed_notional"}),
    "no adapter": (to(adapters={}), {"live_adapter"}),
    "another adapter than the one named": (live(adapter="other"), {"live_adapter"}),
    "two adapters and none named": (
        to(adapters={"one": "hp_test_adapter:TestAdapter", "two": "hp_test_adapter:TestAdapter"}),
        {"live_adapter"},
    ),
    "an adapter that cannot be imported": (to(adapters={"x": "hp_no_such_module:X"}), {"live_adapter"}),
    "an adapter that lacks a method": (to(adapters={"x": "hp_test_adapter:Half"}), {"live_adapter"}),
}


def test_the_gate_opens_when_every_condition_holds(world):
    """The adapter is constructed for the authorized account and notional."""
    request = world.build()
    assert [condition.detail for condition in live_conditions(request) if not condition.met] == []
    opened = release(request)
    assert opened.adapter.made_for == (ACCOUNT, Decimal(10_000))
    assert (opened.account, opened.max_notional_usd) == (ACCOUNT, Decimal(10_000))
    assert {read["mode"] for read in modes_of(world)} == {"SHADOW", "PAPER"}, "SHADOW and PAPER alone met it"


def modes_of(world: World) -> list[dict[str, Any]]:
    return [json.loads((path / "manifest.json").read_text())["predicate"]["session"] for path in world.bundles]


@pytest.mark.parametrize("what", TRUTH)
def test_each_unmet_condition_keeps_the_gate_shut(world, what):
    """The refusal names exactly the unmet conditions, and consumes no token."""
    breaks, unmet = TRUTH[what]
    breaks(world)
    request = world.build()
    found = live_conditions(request)
    assert {condition.name for condition in found if not condition.met} == unmet
    with pytest.raises(GateRefused) as refused:
        release(request)
    assert refused.value.exit_code == ExitCode.CONFIG
    assert all(condition.detail in str(refused.value) for condition in found if not condition.met)
    is_used = (world.folder / "data/control/spent" / world.armed.nonce).exists()
    assert is_used == (what == "a token that was used"), "a refusal uses no token"


def test_the_truth_table_breaks_every_condition():
    assert set().union(*(unmet for _, unmet in TRUTH.values())) == set(CONDITIONS)


def test_a_session_named_three_times_counts_once(world):
    world.live.update(bundles=[])
    request = world.build()
    again = [str(world.bundles[0])] * 3
    gates = request.settings.gates.model_copy(
        update={"live": request.settings.gates.live.model_copy(update={"bundles": tuple(again)})}
    )
    request = request._replace(settings=request.settings.model_copy(update={"gates": gates}))
    unmet = {condition.name for condition in live_conditions(request) if not condition.met}
    assert unmet == {"bundle_sessions", "bundle_seconds", "bundle_ticks", "bundle_trades", "armed_bundles"}


def test_a_condition_that_raises_denies(world, monkeypatch):
    request = world.build()
    for name in CONDITIONS:
        with monkeypatch.context() as patch:
            patch.setitem(CONDITIONS, name, lambda inputs: 1 // 0)
            unmet = [condition for condition in live_conditions(request) if not condition.met]
            assert [condition.name for condition in unmet] == [name]
    monkeypatch.setitem(CONDITIONS, name, lambda inputs: 1 // 0)
    with pytest.raises(GateRefused, match="ZeroDivisionError"):
        release(request)


def test_concurrent_requests_open_the_gate_once(world):
    request = world.build()
    opened: list[object] = []
    refused: list[str] = []
    ready = threading.Barrier(4)

    def ask() -> None:
        ready.wait()
        try:
            opened.append(release(request))
        except GateRefused as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(opened), len(refused)) == (1, 3)
    assert all("not used before" in reason for reason in refused)


def test_a_failing_adapter_constructor_consumes_the_token(world):
    world.adapters = {"x": "hp_test_adapter:Raises"}
    request = world.build()
    with pytest.raises(GateRefused, match="no line to the venue"):
        release(request)
    with pytest.raises(GateRefused, match="not used before"):
        release(request)


def test_a_hanging_adapter_constructor_is_refused_in_time(world):
    world.adapters = {"x": "hp_test_adapter:Hangs"}
    world.live["call_seconds"] = "0.2"
    request = world.build()
    began = time.monotonic()
    with pytest.raises(
        GateRefused, match=r"expected its constructor to return within gates.live.call_seconds \(0.2 s\)"
    ) as caught:
        release(request)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert time.monotonic() - began < 30, "it was not waited for"


def test_an_adapter_constructor_that_exits_is_refused(world):
    world.adapters = {"x": "hp_test_adapter:Exits"}
    with pytest.raises(GateRefused, match="adapter raised SystemExit: 3"):
        release(world.build())


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.PAPER])
def test_nothing_is_released_for_another_mode(world, mode):
    world.settings.update(mode=mode.value)
    request = world.build()
    assert live_conditions(request) == ()
    with pytest.raises(GateRefused, match="expected LIVE"):
        release(request)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(broken=st.sets(st.sampled_from(sorted(TRUTH)), min_size=2, max_size=5))
def test_several_faults_do_not_make_up_for_each_other(broken, bundle_store, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"), bundle_store)
    try:
        for what in sorted(broken):
            TRUTH[what][0](world)
        with pytest.raises(GateRefused):
            release(world.build())
    finally:
        world.forget()


def test_the_arm_command_signs_valid_bundles_only(world, tmp_path):
    request = world.build()
    bundles = [str(path) for path in world.bundles]
    options = ["--key", str(tmp_path / "operator.pem"), "--trusted-keys", str(tmp_path / "data/keys")]
    options += ["--account", ACCOUNT, "--max-notional-usd", "10000", "--data-dir", str(tmp_path / "data")]
    armed = run_cli(tmp_path, "arm", *bundles, *options, "--out", str(tmp_path / "by_command.json"))
    assert armed.code == 0, armed.text
    again = run_cli(tmp_path, "arm", *bundles, *options, "--out", str(tmp_path / "by_command.json"))
    assert (again.code, "expected no file" in again.err) == (64, True)
    token = request.settings.gates.live.model_copy(update={"token": str(tmp_path / "by_command.json")})
    gates = request.settings.gates.model_copy(update={"live": token})
    request = request._replace(settings=request.settings.model_copy(update={"gates": gates}), now_ns=time.time_ns())
    assert [condition.detail for condition in live_conditions(request) if not condition.met] == []
    tamper(world)
    refused = run_cli(tmp_path, "arm", *bundles, *options, "--out", str(tmp_path / "other.json"))
    assert (refused.code, (tmp_path / "other.json").exists()) == (2, False)


def test_the_page_on_the_gate_names_every_condition():
    page = (REPOSITORY / "docs/live-gate.md").read_text()
    named = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert named == set(CONDITIONS)
