"""The paper venue's assumptions, resolved from the paper and execution settings and the latency preset."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.adapters.paper.latency import Latency, resolve_latency


class PaperModel(msgspec.Struct, frozen=True):
    """Every assumption that decides a paper fill."""

    latency: Latency
    slippage_bps: Decimal
    """How much worse a taking fill is than the print it takes."""
    participation: Decimal
    """The share of a print's size that our orders may take together."""
    fills_at_limit: bool
    """Whether resting orders also fill at their limit, behind a queue, or only when it is traded through."""
    queue_prints: Decimal
    """The queue ahead of a resting order, in mean print sizes."""
    taker_fee_bps: Decimal
    maker_fee_bps: Decimal
    reject_rate: float
    seed: int


def build_paper_model(settings: SessionSettings) -> PaperModel:
    """Return the model that the settings state."""
    paper, execution = settings.paper, settings.execution
    return PaperModel(
        resolve_latency(paper),
        execution.slippage_bps if paper.slippage_bps is None else paper.slippage_bps,
        paper.participation,
        paper.limit_fills == "at",
        paper.queue_prints,
        execution.fee_bps,
        execution.fee_bps if paper.maker_fee_bps is None else paper.maker_fee_bps,
        paper.reject_rate,
        paper.seed,
    )
