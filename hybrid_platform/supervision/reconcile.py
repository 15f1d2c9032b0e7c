"""Reconciliation of the observed with the desired state: launch, check, reap, or wait.

In: the supervisor's state, one observation, the settings. Out: one action and the next state. Pure: no clock, no file.
The rules are in docs/supervision.md, the exit codes in docs/contract.md.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from hybrid_platform.domain.backoff import backoff_s
from hybrid_platform.domain.clocks import NS_PER_S, iso_utc
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.maintenance.lease import LeaseHeld
from hybrid_platform.session.outcome import StopReason
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import Observation, ObservedRun, RunLiveness
from hybrid_platform.supervision.state import Block, Phase, SupervisorState

AGAIN = "switch the sensor off and on to start it again"
STOPPED_BY_SIGNAL = frozenset({StopReason.TERMINATED, StopReason.SIGTERM, StopReason.SIGINT})


class Launch(NamedTuple):
    """Start the desired session."""

    generation: int


class Check(NamedTuple):
    """Run the job `preflight`."""

    number: int


class Reap(NamedTuple):
    """Mark a run as failed in Dagster, because its process is gone."""

    run_id: str
    why: str


class Wait(NamedTuple):
    """Do nothing; the state has the reason."""


Action = Launch | Check | Reap | Wait


class Decision(NamedTuple):
    """An action and the state after it."""

    action: Action
    state: SupervisorState


def reconcile(before: SupervisorState, observed: Observation, settings: SupervisionSettings) -> Decision:
    """Return the next action and state; repeated calls keep at most one session alive."""
    state = _limit_to_clock(before, observed, settings)
    state = _reset_if_changed(state, observed)
    state = _on_preflight_ended(state, observed, settings)
    run = observed.run
    if run is not None and run.liveness is not None:
        return _on_running(state, observed, run, settings)
    if run is not None and run.generation > state.handled:
        state = _on_run_ended(state, observed, run, settings)
    elif state.generation > max(state.handled, run.generation if run else 0):
        if observed.now_ns < state.launched_ns + _to_ns(settings.start_timeout_seconds):
            return _wait(state, Phase.STARTING, f"generation {state.generation} was requested and has not appeared yet")
        text = f"generation {state.generation} never appeared"
        state = replace(_on_failure(state, observed, settings, 0.0, text), handled=state.generation)
    if state.blocked is not None:
        return _wait(state, state.blocked.phase, state.blocked.why)
    if observed.halted is not None:
        return _wait(state, Phase.HALTED, f"trading is halted ({observed.halted}); `hybrid-platform resume` ends it")
    if observed.holder is not None:
        return _wait(state, Phase.WAITING, f"another session holds the lease: {observed.holder}")
    if observed.now_ns < state.not_before_ns:
        return _wait(state, Phase.BACKOFF, state.cause, state.not_before_ns)
    return _start_if_allowed(state, observed, settings)


def backoff_seconds(failures: int, settings: SupervisionSettings) -> float:
    """Return the wait after a number of consecutive failures (at least 1)."""
    return backoff_s(failures, settings.backoff_seconds, settings.max_backoff_seconds)


def _limit_to_clock(state: SupervisorState, observed: Observation, settings: SupervisionSettings) -> SupervisorState:
    """Limit stored times to the present; a clock that was set back would otherwise cause endless waits."""
    furthest_ns = observed.now_ns + _to_ns(max(settings.backoff_seconds, settings.max_backoff_seconds))
    return replace(
        state,
        not_before_ns=min(state.not_before_ns, furthest_ns),
        launched_ns=min(state.launched_ns, observed.now_ns),
        check_launched_ns=min(state.check_launched_ns, observed.now_ns),
        restarts_ns=tuple(min(at, observed.now_ns) for at in state.restarts_ns),
    )


def _reset_if_changed(state: SupervisorState, observed: Observation) -> SupervisorState:
    """Forget failures and blocks after the desired run changed or the sensor was switched on again."""
    switched = observed.switched_on != state.switched_on
    if observed.desired == state.desired and not switched:
        return state
    run, check = observed.run, observed.check_run
    return replace(
        state,
        desired=observed.desired,
        switched_on=observed.switched_on,
        blocked=None,
        failures=0,
        restarts_ns=(),
        not_before_ns=0,
        # The end of a run before the change does not concern the run that is desired now.
        handled=max(state.handled, run.generation if run and run.liveness is None else 0),
        handled_check=max(state.handled_check, check.generation if check and check.liveness is None else 0),
    )


def _on_running(
    state: SupervisorState, observed: Observation, run: ObservedRun, settings: SupervisionSettings
) -> Decision:
    """Return the decision while a run is in progress, as far as Dagster knows."""
    state = replace(state, generation=max(state.generation, run.generation))
    if run.liveness is RunLiveness.GONE:
        return Decision(Reap(run.run_id, run.detail), replace(state, phase=Phase.REAPED, why=run.detail, next_at=None))
    if run.liveness is RunLiveness.SILENT:
        return _wait(state, Phase.STUCK, f"{run.detail}: check the process, and end it if it does not continue")
    if run.liveness is not RunLiveness.ALIVE:
        return _wait(state, Phase.STARTING, f"generation {run.generation}: {run.detail}")
    text = f"generation {run.generation}: {run.detail}"
    if not observed.rolls:
        return _wait(state, Phase.RUNNING, text)
    rolls_ns = run.started_ns + _to_ns(settings.max_session_seconds)
    # Checked in advance, so that the next session can begin as soon as this one has ended.
    ahead_ns = min(_to_ns(settings.preflight_max_age_seconds), _to_ns(settings.max_session_seconds)) // 4
    is_due = observed.now_ns >= max(rolls_ns - ahead_ns, state.not_before_ns)
    if is_due and state.blocked is None and not _is_checked(observed, settings, rolls_ns):
        checking = _request_preflight(state, observed, settings)
        if isinstance(checking.action, Check):
            return Decision(checking.action, replace(checking.state, phase=Phase.RUNNING, why=text))
    return _wait(state, Phase.RUNNING, f"{text}; rolls", rolls_ns)


def _on_run_ended(
    state: SupervisorState, observed: Observation, run: ObservedRun, settings: SupervisionSettings
) -> SupervisorState:
    """Return the state after the end of a run: restart at once, later, or not at all."""
    state = replace(state, handled=run.generation, generation=max(state.generation, run.generation))
    text = f"generation {run.generation} ended with exit code {run.exit_code} ({run.exit_reason or 'no reason given'})"
    if run.by_operator:
        return _blocked(state, Phase.STOPPED, f"{text}: an operator ended it; {AGAIN}")
    if run.exit_code == ExitCode.CONFIG and run.error == LeaseHeld.__name__:
        # The run itself is fine; another session was running.
        return replace(state, cause=text, not_before_ns=observed.now_ns + _to_ns(settings.backoff_seconds))
    if run.exit_code == ExitCode.CONFIG:
        return _blocked(state, Phase.CONFIG, f"{text}: correct the desired run; or {AGAIN}")
    if run.exit_code != ExitCode.COMPLETE or run.exit_reason in STOPPED_BY_SIGNAL:
        lived_s = max(0, run.ended_ns - run.started_ns) / NS_PER_S
        return _on_failure(state, observed, settings, lived_s, text)
    if observed.rolls and run.exit_reason == StopReason.TIME_LIMIT:
        return replace(state, failures=0, not_before_ns=0)
    return _blocked(state, Phase.ENDED, f"{text}: the work is done; {AGAIN}")


def _on_failure(
    state: SupervisorState, observed: Observation, settings: SupervisionSettings, lived_s: float, text: str
) -> SupervisorState:
    """Return the state after a failure, with the wait before the next attempt."""
    failures = 1 if lived_s >= settings.healthy_seconds else state.failures + 1
    wait_s = backoff_seconds(failures, settings)
    cause = f"{text}; failure {failures} in a row, waits {wait_s:g} s"
    return replace(state, failures=failures, not_before_ns=observed.now_ns + _to_ns(wait_s), cause=cause)


def _start_if_allowed(state: SupervisorState, observed: Observation, settings: SupervisionSettings) -> Decision:
    """Return the decision to launch, if the restart budget and a fresh preflight allow it."""
    window_ns = _to_ns(settings.budget_seconds)
    recent = tuple(at for at in state.restarts_ns if at > observed.now_ns - window_ns)
    if state.failures and len(recent) >= settings.restart_budget:
        used_up = f"the budget of {settings.restart_budget} restarts in {settings.budget_seconds:g} s is used up"
        free_ns = recent[-settings.restart_budget] + window_ns
        return _wait(state, Phase.BACKOFF, f"{used_up}; last: {state.cause}", free_ns)
    if not _is_checked(observed, settings, observed.now_ns):
        return _request_preflight(state, observed, settings)
    generation = max(state.generation, observed.run.generation if observed.run else 0) + 1
    launched = replace(
        state,
        phase=Phase.STARTING,
        why=f"generation {generation} was launched",
        next_at=None,
        generation=generation,
        launched_ns=observed.now_ns,
        restarts_ns=(*recent, observed.now_ns) if state.failures else recent,
    )
    return Decision(Launch(generation), launched)


def _is_checked(observed: Observation, settings: SupervisionSettings, at_ns: int) -> bool:
    """Return whether a passed preflight is fresh at a given time."""
    check = observed.check
    if check is None or not check.passed or check.ahead_ns(observed.now_ns):
        return False
    return at_ns - check.at_ns <= _to_ns(settings.preflight_max_age_seconds)


def _why_unchecked(observed: Observation) -> str:
    check = observed.check
    if check is None or not (ahead_ns := check.ahead_ns(observed.now_ns)):
        return "no fresh preflight passed"
    ahead = f"{ahead_ns / NS_PER_S:,.0f} s after now"
    return (
        f"the last preflight is dated {iso_utc(check.at_ns)[:19]}Z, {ahead} (was the clock set back?), and is not fresh"
    )


def _request_preflight(state: SupervisorState, observed: Observation, settings: SupervisionSettings) -> Decision:
    """Return the decision to run the preflight, unless it is running."""
    run = observed.check_run
    if run is not None and run.liveness is RunLiveness.GONE:
        why = f"preflight: {run.detail}"
        return Decision(Reap(run.run_id, run.detail), replace(state, phase=Phase.REAPED, why=why, next_at=None))
    if run is not None and run.liveness is not None:
        return _wait(state, Phase.CHECKING, "the job preflight runs")
    if state.check > max(state.handled_check, run.generation if run else 0):
        if observed.now_ns < state.check_launched_ns + _to_ns(settings.start_timeout_seconds):
            return _wait(state, Phase.CHECKING, "the job preflight was requested and has not appeared yet")
        state = replace(state, handled_check=state.check)
    number = max(state.check, run.generation if run else 0) + 1
    requested = replace(state, check=number, check_launched_ns=observed.now_ns, phase=Phase.CHECKING, next_at=None)
    return Decision(
        Check(number), replace(requested, why=f"{_why_unchecked(observed)}: the job preflight was launched")
    )


def _on_preflight_ended(
    state: SupervisorState, observed: Observation, settings: SupervisionSettings
) -> SupervisorState:
    """Return the state after the end of a requested preflight."""
    run = observed.check_run
    if run is None or run.liveness is not None or run.generation <= state.handled_check:
        return state
    state = replace(state, handled_check=run.generation, check=max(state.check, run.generation))
    text = f"preflight ended with exit code {run.exit_code} ({_describe_check(observed)})"
    if run.exit_code == ExitCode.CONFIG:
        return _blocked(state, Phase.CONFIG, f"{text}: correct the desired run; or {AGAIN}")
    # A preflight that passed without evidence is a failure too, otherwise it would be repeated forever.
    passed = run.exit_code == ExitCode.COMPLETE and _is_checked(observed, settings, observed.now_ns)
    return state if passed else _on_failure(state, observed, settings, 0.0, text)


def _describe_check(observed: Observation) -> str:
    if observed.check is None:
        return "and left no evidence"
    if observed.check.ahead_ns(observed.now_ns):
        return _why_unchecked(observed)
    return observed.check.reasons or "passed"


def _blocked(state: SupervisorState, phase: Phase, why: str) -> SupervisorState:
    return replace(state, blocked=Block(phase, why, state.desired), why=why)


def _wait(state: SupervisorState, phase: Phase, why: str, next_ns: int | None = None) -> Decision:
    next_at = None if next_ns is None else f"{iso_utc(next_ns)[:19]}Z"
    return Decision(Wait(), replace(state, phase=phase, why=why, next_at=next_at))


def _to_ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
