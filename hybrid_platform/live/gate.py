"""The LIVE gate: default deny, every unmet condition named (G1, S14, L1).

in: settings, code, host, kill switch and the proof that the settings name · out: the conditions, each met or
not; `release` makes the adapter where all are met. Whatever raises while judging counts as not met. All
that is asked of evidence can be met by SHADOW and PAPER sessions alone.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple

from hybrid_platform.domain.errors import ExitCode, GateRefused
from hybrid_platform.evidence.records import LiveCondition
from hybrid_platform.live.authorization import spend
from hybrid_platform.live.conditions import CONDITIONS
from hybrid_platform.live.inputs import Case, LiveRequest, UnmetError
from hybrid_platform.settings.session import Mode
from hybrid_platform.trading.adapters.live import LiveAdapter


class Release(NamedTuple):
    """The gate is open: an adapter, made for this account and notional, and nothing beyond."""

    adapter: LiveAdapter
    account: str
    max_notional_usd: Decimal
    bundles: tuple[str, ...]


def live_conditions(request: LiveRequest) -> tuple[LiveCondition, ...]:
    """Return every condition for LIVE; an empty tuple for the other modes."""
    return _judged(Case(request)) if request.settings.mode is Mode.LIVE else ()


def release(request: LiveRequest) -> Release:
    """Judge every condition, use the arming token up, and make the adapter.

    Raises GateRefused (exit code CONFIG) naming every unmet condition; then no adapter is made. A token
    that somebody uses up at the same moment is one of the reasons.
    """
    case = Case(request)
    unmet = [condition.detail for condition in _judged(case) if not condition.met]
    if request.settings.mode is not Mode.LIVE:
        unmet.append(f"mode: expected LIVE, got {request.settings.mode}")
    if unmet:
        raise GateRefused("LIVE refused: " + "; ".join(unmet), ExitCode.CONFIG)
    arming = case.armed.arming
    try:
        spend(request.data_dir, arming)
        made = partial(case.adapter_class, arming.account, arming.max_notional_usd)
        adapter = _in_time(made, float(case.live.call_seconds))
    except Exception as error:  # an adapter may raise anything
        raise GateRefused(f"LIVE refused: {type(error).__name__}: {error}", ExitCode.CONFIG) from None
    return Release(adapter, arming.account, arming.max_notional_usd, arming.bundles)


def _in_time(make: Callable[[], LiveAdapter], seconds: float) -> LiveAdapter:
    """Return the adapter; raise what its constructor raises, and TimeoutError where it takes longer than that."""
    made: SimpleQueue[LiveAdapter | BaseException] = SimpleQueue()

    def run() -> None:
        try:
            made.put(make())
        except BaseException as error:
            made.put(error)

    # A daemon, for a constructor that hangs must not keep the process either.
    Thread(target=run, name="live adapter made", daemon=True).start()
    try:
        adapter = made.get(timeout=seconds)
    except Empty:
        expected = f"expected to be made within gates.live.call_seconds ({seconds:g} s)"
        raise TimeoutError(f"adapter: {expected}, got not; nothing was sent") from None
    if isinstance(adapter, Exception):
        raise adapter
    if isinstance(adapter, BaseException):  # one that exits is no reason for this process to
        raise RuntimeError(f"adapter raised {type(adapter).__name__}: {adapter}")
    return adapter


def _judged(case: Case) -> tuple[LiveCondition, ...]:
    return tuple(_judge(name, condition, case) for name, condition in CONDITIONS.items())


def _judge(name: str, condition: Callable[[Case], str], case: Case) -> LiveCondition:
    try:
        return LiveCondition(name, True, f"{name}: {condition(case)}")
    except UnmetError as unmet:
        return LiveCondition(name, False, f"{name}: {unmet}")
    except Exception as error:  # what cannot be judged is denied
        told = f"{type(error).__name__}: {error}".replace("\n", "; ")[:400]
        return LiveCondition(name, False, f"{name}: expected to be judged, got not: {told}")
