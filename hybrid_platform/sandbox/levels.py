"""The enforced level of isolation, which follows only from what was read back (I1).

In: evidence without a level. Out: the level, and the reasons why it is not higher. Pure.
"""

from __future__ import annotations

from hybrid_platform.domain.isolation import Attempt, Enforced, IsolationEvidence, Kind, Reading, SelfTest


def decide_level(evidence: IsolationEvidence, *, hook_alive: bool) -> tuple[Enforced, tuple[str, ...]]:
    """Return the strongest level that all readings support, and the reasons why it is not stronger."""
    fallback = Enforced.AUDIT_HOOK_ONLY if hook_alive else Enforced.NONE
    network = _find_network_gaps(evidence)
    if evidence.requested == "thread":
        apart = ("the stages share the host process: another of its threads can be made to do the call",)
        return (Enforced.KERNEL_THREAD, apart) if not network else (fallback, (*network, *apart))
    if network:
        return fallback, network
    files = _find_file_gaps(evidence)
    return (Enforced.KERNEL_NETWORK_ONLY, files) if files else (Enforced.KERNEL_PROCESS, ())


def _find_network_gaps(evidence: IsolationEvidence) -> tuple[str, ...]:
    if evidence.machine is None:
        return ("seccomp: no filter for this system and instruction set",)
    if evidence.filter_sha256 is None:
        return ("seccomp: no filter could be loaded",)
    why = [] if evidence.control.network else [f"positive control: {evidence.control.detail or 'nothing was heard'}"]
    for moment, reading, selftest in _moments(evidence):
        if reading is None or selftest is None:
            why.append(f"{moment}: nothing was read back")
            continue
        if not reading.threads:
            why.append(f"{moment}: no thread's status could be read")
        why += [
            f"{moment}: thread {thread.tid} ({thread.name}) is not under a filter"
            for thread in reading.threads or ()
            if not thread.is_filtered
        ]
        if evidence.requested == "process" and reading.sockets != 0:
            held = "could not be counted" if reading.sockets is None else f"{reading.sockets} held"
            why.append(f"{moment}: sockets {held}, expected 0")
        if selftest.heard:
            why.append(f"{moment}: the listener heard {selftest.heard} times during the self-test")
        why += [_format_leak(moment, attempt) for attempt in selftest.leaks if not _concerns_files(attempt.kind)]
        if not selftest.attempts:
            why.append(f"{moment}: the self-test tried nothing")
    return tuple(why)


def _find_file_gaps(evidence: IsolationEvidence) -> tuple[str, ...]:
    landlock = evidence.landlock
    if landlock.abi == 0 or landlock.error:
        return (f"Landlock: {landlock.error or 'not available'}",)
    why = [] if landlock.all_threads else ["Landlock: it was applied while other threads ran, which it does not bind"]
    if not evidence.control.file:
        why.append(f"positive control: {evidence.control.detail or 'the canary was not read'}")
    for moment, _, selftest in _moments(evidence):
        attempts = [attempt for attempt in selftest.attempts if _concerns_files(attempt.kind)] if selftest else []
        if not attempts:
            why.append(f"{moment}: no file was tried")
        why += [_format_leak(moment, attempt) for attempt in attempts if not attempt.held]
    return tuple(why)


def _moments(evidence: IsolationEvidence) -> list[tuple[str, Reading | None, SelfTest | None]]:
    """Return the readings at the start and, if the process reached it, the end. No filter can be removed in between."""
    moments = [("start", evidence.start, evidence.selftest_start)]
    if evidence.end is not None or evidence.selftest_end is not None:
        moments.append(("end", evidence.end, evidence.selftest_end))
    return moments


def _format_leak(moment: str, attempt: Attempt) -> str:
    return f"{moment}: {attempt.name}: expected {attempt.expected}, got {attempt.outcome}"


def _concerns_files(kind: Kind) -> bool:
    return kind in {Kind.FILE, Kind.SIGNAL}
