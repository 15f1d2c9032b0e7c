"""How a run's life is told: by the kernel where it knows, by signs of life elsewhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.observability.liveness import LivenessRecord, SessionPhase
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import Life, life_of

SETTINGS = SupervisionSettings()
NOW = 1_700_000_000 * NS_PER_S
ELSEWHERE = ProcessIdentity(pid=7, host="the-other-host", boot_id="another", pid_started=1)


def sign(
    owner: ProcessIdentity, age_s: float, phase: SessionPhase = SessionPhase.RUNNING, unsupervised_s: float = 0.0
) -> LivenessRecord:
    return LivenessRecord("s", "r", owner, phase, 1, "", NOW - int(age_s * NS_PER_S), int(unsupervised_s * 1000))


def life(
    owner: ProcessIdentity | None, seen: LivenessRecord | None, waited_s: float = 0.0, *, queued: bool = False
) -> Life:
    launched_ns = NOW - int(waited_s * NS_PER_S)
    return life_of(
        queued=queued, owner=owner, sign=seen, launched_ns=launched_ns, now_ns=NOW, settings=SETTINGS
    )[0]  # fmt: skip


@given(
    st.none() | st.builds(sign, st.sampled_from([this_process(), ELSEWHERE]), st.floats(-1e6, 1e8),
                          st.sampled_from(SessionPhase), st.floats(0, 1e6)),
    st.floats(0, 1e8),
)  # fmt: skip
def test_a_process_that_lives_is_never_given_up_whatever_its_signs_say(seen: LivenessRecord | None, waited_s: float):
    assert life(this_process(), seen, waited_s) in {Life.ALIVE, Life.SILENT}


@given(st.none() | st.builds(sign, st.just(ELSEWHERE), st.floats(0, 59)), st.floats(0, 1e8))
def test_a_process_that_is_gone_is_gone_however_fresh_its_last_sign(seen: LivenessRecord | None, waited_s: float):
    assert life(replace(this_process(), pid_started=1), seen, waited_s) is Life.GONE


def test_elsewhere_a_session_that_is_supervised_must_beat_and_its_checks_and_report_need_not():
    assert life(ELSEWHERE, sign(ELSEWHERE, 59)) is Life.ALIVE
    assert life(ELSEWHERE, sign(ELSEWHERE, 61)) is Life.GONE
    assert life(ELSEWHERE, sign(ELSEWHERE, 1, unsupervised_s=61)) is Life.GONE
    for phase in (SessionPhase.CLOSING, SessionPhase.ENDED):
        assert life(ELSEWHERE, sign(ELSEWHERE, 299, phase)) is Life.ALIVE
        assert life(ELSEWHERE, sign(ELSEWHERE, 301, phase)) is Life.GONE


def test_a_process_that_hangs_after_its_session_is_silent_in_the_end():
    own = this_process()
    assert life(own, sign(own, 299, SessionPhase.ENDED)) is Life.ALIVE
    assert life(own, sign(own, 301, SessionPhase.ENDED)) is Life.SILENT


def test_another_processs_sign_says_nothing_of_this_one():
    fresh = sign(replace(ELSEWHERE, pid=8), 1)
    assert life(ELSEWHERE, fresh, 299) is Life.STARTING
    assert life(ELSEWHERE, fresh, 301) is Life.GONE
    old = sign(ELSEWHERE, 1e6)
    assert life(this_process(), old) is Life.ALIVE


def test_a_run_without_a_process_has_its_time_to_start_and_a_queued_one_all_of_it():
    assert life(None, None, 299) is Life.STARTING
    assert life(None, None, 301) is Life.GONE
    assert life(None, None, 1e8, queued=True) is Life.QUEUED


def test_two_hosts_of_one_name_are_not_taken_for_each_other():
    """After a reboot too, the kernel knows nothing of what ran before: signs of life decide."""
    other_boot = replace(this_process(), boot_id="another")
    assert life(other_boot, sign(other_boot, 1)) is Life.ALIVE
    assert life(other_boot, sign(other_boot, 61)) is Life.GONE
