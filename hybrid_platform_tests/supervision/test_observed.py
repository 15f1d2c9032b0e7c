"""Liveness of a run: decided by the kernel on this host, by liveness records elsewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.observability.liveness import LivenessRecord, SessionPhase
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import RunLiveness, assess_liveness

SETTINGS = SupervisionSettings()
NOW = 1_700_000_000 * NS_PER_S
ELSEWHERE = ProcessIdentity(pid=7, host="the-other-host", boot_id="another", pid_started=1)


def sign(
    owner: ProcessIdentity, age_s: float, phase: SessionPhase = SessionPhase.RUNNING, unsupervised_s: float = 0.0
) -> LivenessRecord:
    return LivenessRecord("s", "r", owner, phase, 1, "", NOW - int(age_s * NS_PER_S), int(unsupervised_s * 1000))


def life(
    owner: ProcessIdentity | None, observed: LivenessRecord | None, waited_s: float = 0.0, *, queued: bool = False
) -> RunLiveness:
    launched_ns = NOW - int(waited_s * NS_PER_S)
    return assess_liveness(
        queued=queued, owner=owner, record=observed, launched_ns=launched_ns, now_ns=NOW, settings=SETTINGS
    )[0]  # fmt: skip


@given(
    st.none() | st.builds(sign, st.sampled_from([this_process(), ELSEWHERE]), st.floats(-1e6, 1e8),
                          st.sampled_from(SessionPhase), st.floats(0, 1e6)),
    st.floats(0, 1e8),
)  # fmt: skip
def test_living_process_is_never_gone(observed: LivenessRecord | None, waited_s: float):
    assert life(this_process(), observed, waited_s) in {RunLiveness.ALIVE, RunLiveness.SILENT}


@given(st.none() | st.builds(sign, st.just(ELSEWHERE), st.floats(0, 59)), st.floats(0, 1e8))
def test_dead_process_is_gone_despite_a_fresh_record(observed: LivenessRecord | None, waited_s: float):
    assert life(replace(this_process(), pid_started=1), observed, waited_s) is RunLiveness.GONE


def test_elsewhere_only_supervised_sessions_must_beat():
    assert life(ELSEWHERE, sign(ELSEWHERE, 59)) is RunLiveness.ALIVE
    assert life(ELSEWHERE, sign(ELSEWHERE, 61)) is RunLiveness.GONE
    assert life(ELSEWHERE, sign(ELSEWHERE, 1, unsupervised_s=61)) is RunLiveness.GONE
    for phase in (SessionPhase.CLOSING, SessionPhase.ENDED):
        assert life(ELSEWHERE, sign(ELSEWHERE, 299, phase)) is RunLiveness.ALIVE
        assert life(ELSEWHERE, sign(ELSEWHERE, 301, phase)) is RunLiveness.GONE


def test_process_that_hangs_after_its_session_is_silent():
    own = this_process()
    assert life(own, sign(own, 299, SessionPhase.ENDED)) is RunLiveness.ALIVE
    assert life(own, sign(own, 301, SessionPhase.ENDED)) is RunLiveness.SILENT


def test_record_of_another_process_is_ignored():
    fresh = sign(replace(ELSEWHERE, pid=8), 1)
    assert life(ELSEWHERE, fresh, 299) is RunLiveness.STARTING
    assert life(ELSEWHERE, fresh, 301) is RunLiveness.GONE
    old = sign(ELSEWHERE, 1e6)
    assert life(this_process(), old) is RunLiveness.ALIVE


def test_run_without_process_has_time_to_start():
    assert life(None, None, 299) is RunLiveness.STARTING
    assert life(None, None, 301) is RunLiveness.GONE
    assert life(None, None, 1e8, queued=True) is RunLiveness.QUEUED


def test_hosts_with_one_name_are_distinguished_by_boot():
    """After a reboot too, the kernel knows nothing of what ran before: signs of liveness reconcile."""
    other_boot = replace(this_process(), boot_id="another")
    assert life(other_boot, sign(other_boot, 1)) is RunLiveness.ALIVE
    assert life(other_boot, sign(other_boot, 61)) is RunLiveness.GONE
