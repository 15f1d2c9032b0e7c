"""The LIVE gate: it denies by default and names every unmet condition (G1, S14, L1).

in: settings, code, host, kill switch and the proof that the settings name · out: the conditions, each met or not;
`release` constructs the adapter when all are met. A condition that raises counts as unmet.
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
from hybrid_platform.live.authorization import consume
from hybrid_platform.live.conditions import CONDITIONS
from hybrid_platform.live.inputs import LiveGateInputs, LiveRequest, UnmetConditionError
from hybrid_platform.settings.session import Mode
from hybrid_platform.trading.adapters.live import LiveAdapter


class Release(NamedTuple):
    """The adapter of an open gate, constructed for one account and one maximum notional."""

    adapter: LiveAdapter
    account: str
    max_notional_usd: Decimal
    bundles: tuple[str, ...]
    """Digests of the proof bundles."""


def live_conditions(request: LiveRequest) -> tuple[LiveCondition, ...]:
    """Return every condition for LIVE; an empty tuple for the other modes."""
    return _judge_all(LiveGateInputs(request)) if request.settings.mode is Mode.LIVE else ()


def release(request: LiveRequest) -> Release:
    """Judge every condition, consume the arming token, and construct the adapter.

    Raises GateRefused (exit code CONFIG) with every unmet condition, also when another process consumes the token at
    the same moment; then no adapter is constructed.
    """
    inputs = LiveGateInputs(request)
    unmet = [condition.detail for condition in _judge_all(inputs) if not condition.met]
    if request.settings.mode is not Mode.LIVE:
        unmet.append(f"mode: expected LIVE, got {request.settings.mode}")
    if unmet:
        raise GateRefused("LIVE refused: " + "; ".join(unmet), ExitCode.CONFIG)
    authorization = inputs.signed_authorization.authorization
    try:
        consume(request.data_dir, authorization)
        construct = partial(inputs.adapter_class, authorization.account, authorization.max_notional_usd)
        adapter = _construct_within(construct, float(inputs.live.call_seconds))
    except Exception as error:  # an adapter may raise anything
        raise GateRefused(f"LIVE refused: {type(error).__name__}: {error}", ExitCode.CONFIG) from None
    return Release(adapter, authorization.account, authorization.max_notional_usd, authorization.bundles)


def _construct_within(construct: Callable[[], LiveAdapter], timeout_s: float) -> LiveAdapter:
    """Return the adapter; raise what its constructor raises, and TimeoutError when it takes too long."""
    results: SimpleQueue[LiveAdapter | BaseException] = SimpleQueue()

    def run() -> None:
        try:
            results.put(construct())
        except BaseException as error:
            results.put(error)

    # A daemon thread, so that a constructor that hangs does not keep the process alive.
    Thread(target=run, name="live adapter constructor", daemon=True).start()
    try:
        result = results.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError(
            f"adapter: expected its constructor to return within gates.live.call_seconds ({timeout_s:g} s), "
            "got no answer; no order was sent"
        ) from None
    if isinstance(result, Exception):
        raise result
    if isinstance(result, BaseException):  # an adapter that raises SystemExit must not end this process
        raise RuntimeError(f"adapter raised {type(result).__name__}: {result}")
    return result


def _judge_all(inputs: LiveGateInputs) -> tuple[LiveCondition, ...]:
    return tuple(_judge(name, condition, inputs) for name, condition in CONDITIONS.items())


def _judge(name: str, condition: Callable[[LiveGateInputs], str], inputs: LiveGateInputs) -> LiveCondition:
    try:
        return LiveCondition(name, True, f"{name}: {condition(inputs)}")
    except UnmetConditionError as unmet:
        return LiveCondition(name, False, f"{name}: {unmet}")
    except Exception as error:  # a condition that cannot be judged denies
        message = f"{type(error).__name__}: {error}".replace("\n", "; ")[:400]
        return LiveCondition(name, False, f"{name}: could not be judged: {message}")
