"""The tables of docs/trading.md, generated from the code that they describe; a test keeps them up to date.

in: the document's text · out: the same with its marked sections regenerated. As a program,
``python -m hybrid_platform.trading.reference docs/trading.md`` rewrites the file. No module imports it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from hybrid_platform.domain.decimals import canonical, from_units
from hybrid_platform.domain.orders import VetoReason
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.trading import RiskSettings
from hybrid_platform.trading.adapters.paper.latency import PRESETS
from hybrid_platform.trading.assumptions import list_assumptions
from hybrid_platform.trading.risk.checks import build_checks
from hybrid_platform.trading.risk.loss import LossMonitor
from hybrid_platform.trading.states import ALLOWED, CLOSED

_MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def regenerate(document: str) -> str:
    """Return the document with every marked section regenerated; raise KeyError for an unknown one."""
    return _MARKED.sub(lambda found: f"{found[1]}{SECTIONS[found[2]]()}{found[3]}", document)


def veto_reasons() -> str:
    """Return the veto codes and their meanings."""
    source = ast.parse(inspect.getsource(VetoReason)).body[0]
    assert isinstance(source, ast.ClassDef)
    meanings = [
        node.value.value for node in source.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    rows = zip((f"`{reason}`" for reason in VetoReason), map(str, meanings[1:]), strict=True)
    return _table(("code", "the signal was vetoed because"), rows)


def checks() -> str:
    """Return every check in the order in which it runs, with all limits set."""
    every = RiskSettings(
        price_collar_bps=Decimal(1),
        max_order_notional_usd=Decimal(1),
        max_orders_per_second=Decimal(1),
        max_daily_loss_usd=Decimal(1),
        max_drawdown_usd=Decimal(1),
    )
    losses = LossMonitor(None, None, Decimal(0))
    always = {(type(check), check.code) for check in build_checks(RiskSettings(), losses)}
    rows = (
        (
            str(number),
            f"`{check.code}`",
            (type(check).__doc__ or "").splitlines()[0],
            "always" if (type(check), check.code) in always else "when set",
        )
        for number, check in enumerate(build_checks(every, losses), 1)
    )
    return _table(("", "code", "what is checked", "on"), rows)


def transitions() -> str:
    """Return the order state machine."""
    rows: list[tuple[str, str, str]] = []
    for before, afters in ALLOWED.items():
        name = f"{before} (closed)" if before in CLOSED else str(before)
        rows += [(name, str(after), why) for after, why in afters.items()] or [(name, "—", "final")]
    return _table(("from", "to", "when"), rows)


def latencies() -> str:
    """Return the latency presets."""
    rows = (
        (f"`{name}`", *(canonical(from_units(delay, 6)) for delay in preset[:3]), str(preset.jitter))
        for name, preset in PRESETS.items()
    )
    return _table(("preset", "submit ms", "cancel ms", "report ms", "jitter"), rows)


def assumptions_shadow() -> str:
    """Return the default assumptions of SHADOW."""
    return _table(("assumption", "default", "meaning"), list_assumptions(load_settings({}, environ={})))


def assumptions_paper() -> str:
    """Return the default assumptions of PAPER."""
    return _table(("assumption", "default", "meaning"), list_assumptions(load_settings({"mode": "PAPER"}, environ={})))


SECTIONS = {
    section.__name__: section
    for section in (veto_reasons, checks, transitions, latencies, assumptions_shadow, assumptions_paper)
}
"""Name of a marked section -> the function that generates it."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(regenerate(path.read_text(encoding="utf-8")), encoding="utf-8")
