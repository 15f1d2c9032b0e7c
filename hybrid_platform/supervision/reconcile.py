"""What follows from what the supervisor sees: launch, check, reap or wait (SPEC 9).

in: the memory, one look, the settings · out: one action and the memory after it. Pure: no clock, no file.
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
from hybrid_platform.supervision.observed import Life, RunSeen, Seen
from hybrid_platform.supervision.state import Block, Memory, Phase

AGAIN = "switch the sensor off and on to start it again"
STOPPED_BY_SIGNAL = frozenset({StopReason.TERMINATED, StopReason.SIGTERM, StopReason.SIGINT})


class Launch(NamedTuple):
    """Start the wanted session."""

    generation: int


class Check(NamedTuple):
    """Run the job `preflight`."""

    number: int


class Reap(NamedTuple):
    """Tell Dagster that a run is over: its process is gone, and cannot say so."""

    run_id: str
    why: str


class Wait(NamedTuple):
    """Do nothing; the memory says why."""


Action = Launch | Check | Reap | Wait


class Decision(NamedTuple):
    """What to do now, and what to remember."""

    action: Action
    memory: Memory


def decide(before: Memory, seen: Seen, settings: SupervisionSettings) -> Decision:
    """Return what to do. Called again and again with what it returned, it keeps one session alive at most."""
    memory = _check_judged(_wanted_anew(_in_reach(before, seen, settings), seen), seen, settings)
    run = seen.run
    if run is not None and run.life is not None:
        return _watch(memory, seen, run, settings)
    if run is not None and run.generation > memory.judged:
        memory = _judged(memory, seen, run, settings)
    elif memory.generation > max(memory.judged, run.generation if run else 0):
        if seen.now_ns < memory.launched_ns + _ns(settings.start_timeout_seconds):
            return _wait(memory, Phase.STARTING, f"generation {memory.generation} was asked for, and is not there yet")
        told = f"generation {memory.generation} never appeared"
        memory = replace(_failed(memory, seen, settings, 0.0, told), judged=memory.generation)
    if memory.blocked is not None:
        return _wait(memory, memory.blocked.phase, memory.blocked.why)
    if seen.halted is not None:
        return _wait(memory, Phase.HALTED, f"trading is halted ({seen.halted}); `hybrid-platform resume` ends it")
    if seen.holder is not None:
        return _wait(memory, Phase.WAITING, f"another session holds the lease: {seen.holder}")
    if seen.now_ns < memory.not_before_ns:
        return _wait(memory, Phase.BACKOFF, memory.cause, memory.not_before_ns)
    return _begin(memory, seen, settings)


def backoff_seconds(failures: int, settings: SupervisionSettings) -> float:
    """Return how long to wait after so many failures in a row (at least 1)."""
    return backoff_s(failures, settings.backoff_seconds, settings.max_backoff_seconds)


def _in_reach(memory: Memory, seen: Seen, settings: SupervisionSettings) -> Memory:
    """Bring back what a clock that was set back has left ahead: else it would be waited for, for days or years."""
    furthest_ns = seen.now_ns + _ns(max(settings.backoff_seconds, settings.max_backoff_seconds))
    return replace(
        memory,
        not_before_ns=min(memory.not_before_ns, furthest_ns),
        launched_ns=min(memory.launched_ns, seen.now_ns),
        check_launched_ns=min(memory.check_launched_ns, seen.now_ns),
        restarts_ns=tuple(min(at, seen.now_ns) for at in memory.restarts_ns),
    )


def _wanted_anew(memory: Memory, seen: Seen) -> Memory:
    """Forget old failures and blocks where a person has changed what is wanted, or switched the sensor on anew."""
    switched = seen.switched_on != memory.switched_on
    if seen.wanted == memory.wanted and not switched:
        return memory
    run, check = seen.run, seen.check_run
    return replace(
        memory,
        wanted=seen.wanted,
        switched_on=seen.switched_on,
        blocked=None,
        failures=0,
        restarts_ns=(),
        not_before_ns=0,
        # How a run ended that a person knows of says nothing about the one that is wanted now.
        judged=max(memory.judged, run.generation if run and run.life is None else 0),
        check_judged=max(memory.check_judged, check.generation if check and check.life is None else 0),
    )


def _watch(memory: Memory, seen: Seen, run: RunSeen, settings: SupervisionSettings) -> Decision:
    """A run goes on, as far as Dagster knows."""
    memory = replace(memory, generation=max(memory.generation, run.generation))
    if run.life is Life.GONE:
        return Decision(Reap(run.run_id, run.detail), replace(memory, phase=Phase.REAPED, why=run.detail, next_at=None))
    if run.life is Life.SILENT:
        return _wait(memory, Phase.STUCK, f"{run.detail}: look at it, and end it if it does not go on")
    if run.life is not Life.ALIVE:
        return _wait(memory, Phase.STARTING, f"generation {run.generation}: {run.detail}")
    told = f"generation {run.generation}: {run.detail}"
    if not seen.rolls:
        return _wait(memory, Phase.RUNNING, told)
    rolls_ns = run.started_ns + _ns(settings.max_session_seconds)
    # Ready in time: the next session then begins as soon as this one has ended.
    ahead_ns = min(_ns(settings.preflight_max_age_seconds), _ns(settings.max_session_seconds)) // 4
    is_time = seen.now_ns >= max(rolls_ns - ahead_ns, memory.not_before_ns)
    if is_time and memory.blocked is None and not _is_checked(seen, settings, rolls_ns):
        checking = _check(memory, seen, settings)
        if isinstance(checking.action, Check):
            return Decision(checking.action, replace(checking.memory, phase=Phase.RUNNING, why=told))
    return _wait(memory, Phase.RUNNING, f"{told}; rolls", rolls_ns)


def _judged(memory: Memory, seen: Seen, run: RunSeen, settings: SupervisionSettings) -> Memory:
    """Return the memory after a run's end: begin again at once, later, or not at all."""
    memory = replace(memory, judged=run.generation, generation=max(memory.generation, run.generation))
    told = f"generation {run.generation} ended with exit code {run.exit_code} ({run.exit_reason or 'no reason given'})"
    if run.by_person:
        return _blocked(memory, Phase.STOPPED, f"{told}: a person ended it; {AGAIN}")
    if run.exit_code == ExitCode.CONFIG and run.error == LeaseHeld.__name__:
        # Nothing is wrong with it: it came while another session ran.
        return replace(memory, cause=told, not_before_ns=seen.now_ns + _ns(settings.backoff_seconds))
    if run.exit_code == ExitCode.CONFIG:
        return _blocked(memory, Phase.CONFIG, f"{told}: correct the wanted run; or {AGAIN}")
    if run.exit_code != ExitCode.COMPLETE or run.exit_reason in STOPPED_BY_SIGNAL:
        lived_s = max(0, run.ended_ns - run.started_ns) / NS_PER_S
        return _failed(memory, seen, settings, lived_s, told)
    if seen.rolls and run.exit_reason == StopReason.TIME_LIMIT:
        return replace(memory, failures=0, not_before_ns=0)
    return _blocked(memory, Phase.ENDED, f"{told}: there is nothing more to do; {AGAIN}")


def _failed(memory: Memory, seen: Seen, settings: SupervisionSettings, lived_s: float, told: str) -> Memory:
    """Return the memory after a failure: the next try waits."""
    failures = 1 if lived_s >= settings.healthy_seconds else memory.failures + 1
    wait_s = backoff_seconds(failures, settings)
    cause = f"{told}; failure {failures} in a row, waits {wait_s:g} s"
    return replace(memory, failures=failures, not_before_ns=seen.now_ns + _ns(wait_s), cause=cause)


def _begin(memory: Memory, seen: Seen, settings: SupervisionSettings) -> Decision:
    """Nothing keeps the session from beginning but the budget and its host."""
    window_ns = _ns(settings.budget_seconds)
    recent = tuple(at for at in memory.restarts_ns if at > seen.now_ns - window_ns)
    if memory.failures and len(recent) >= settings.restart_budget:
        used_up = f"the budget of {settings.restart_budget} restarts in {settings.budget_seconds:g} s is used up"
        free_ns = recent[-settings.restart_budget] + window_ns
        return _wait(memory, Phase.BACKOFF, f"{used_up}; last: {memory.cause}", free_ns)
    if not _is_checked(seen, settings, seen.now_ns):
        return _check(memory, seen, settings)
    generation = max(memory.generation, seen.run.generation if seen.run else 0) + 1
    launched = replace(
        memory,
        phase=Phase.STARTING,
        why=f"generation {generation} was launched",
        next_at=None,
        generation=generation,
        launched_ns=seen.now_ns,
        restarts_ns=(*recent, seen.now_ns) if memory.failures else recent,
    )
    return Decision(Launch(generation), launched)


def _is_checked(seen: Seen, settings: SupervisionSettings, at_ns: int) -> bool:
    """Return whether a preflight that passed is fresh at an instant."""
    check = seen.check
    if check is None or not check.passed or check.ahead_ns(seen.now_ns):
        return False
    return at_ns - check.at_ns <= _ns(settings.preflight_max_age_seconds)


def _why_unchecked(seen: Seen) -> str:
    check = seen.check
    if check is None or not (ahead_ns := check.ahead_ns(seen.now_ns)):
        return "no fresh preflight passed"
    ahead = f"{ahead_ns / NS_PER_S:,.0f} s after now"
    return (
        f"the last preflight is dated {iso_utc(check.at_ns)[:19]}Z, {ahead} (was the clock set back?), and is not fresh"
    )


def _check(memory: Memory, seen: Seen, settings: SupervisionSettings) -> Decision:
    """Run the preflight, unless it runs."""
    run = seen.check_run
    if run is not None and run.life is Life.GONE:
        why = f"preflight: {run.detail}"
        return Decision(Reap(run.run_id, run.detail), replace(memory, phase=Phase.REAPED, why=why, next_at=None))
    if run is not None and run.life is not None:
        return _wait(memory, Phase.CHECKING, "the job preflight runs")
    if memory.check > max(memory.check_judged, run.generation if run else 0):
        if seen.now_ns < memory.check_launched_ns + _ns(settings.start_timeout_seconds):
            return _wait(memory, Phase.CHECKING, "the job preflight was asked for, and is not there yet")
        memory = replace(memory, check_judged=memory.check)
    number = max(memory.check, run.generation if run else 0) + 1
    asked = replace(memory, check=number, check_launched_ns=seen.now_ns, phase=Phase.CHECKING, next_at=None)
    return Decision(Check(number), replace(asked, why=f"{_why_unchecked(seen)}: the job preflight was launched"))


def _check_judged(memory: Memory, seen: Seen, settings: SupervisionSettings) -> Memory:
    """Return the memory after the end of a preflight that was asked for."""
    run = seen.check_run
    if run is None or run.life is not None or run.generation <= memory.check_judged:
        return memory
    memory = replace(memory, check_judged=run.generation, check=max(memory.check, run.generation))
    told = f"preflight ended with exit code {run.exit_code} ({_reasons(seen)})"
    if run.exit_code == ExitCode.CONFIG:
        return _blocked(memory, Phase.CONFIG, f"{told}: correct the wanted run; or {AGAIN}")
    # One that passed and left no evidence is a failure too, or it would be run again for ever.
    passed = run.exit_code == ExitCode.COMPLETE and _is_checked(seen, settings, seen.now_ns)
    return memory if passed else _failed(memory, seen, settings, 0.0, told)


def _reasons(seen: Seen) -> str:
    if seen.check is None:
        return "and left no evidence"
    if seen.check.ahead_ns(seen.now_ns):
        return _why_unchecked(seen)
    return seen.check.reasons or "passed"


def _blocked(memory: Memory, phase: Phase, why: str) -> Memory:
    return replace(memory, blocked=Block(phase, why, memory.wanted), why=why)


def _wait(memory: Memory, phase: Phase, why: str, next_ns: int | None = None) -> Decision:
    next_at = None if next_ns is None else f"{iso_utc(next_ns)[:19]}Z"  # to the second: it looks no oftener
    return Decision(Wait(), replace(memory, phase=phase, why=why, next_at=next_at))


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
