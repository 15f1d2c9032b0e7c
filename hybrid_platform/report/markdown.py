"""Markdown that cannot be broken by what it shows: symbols and reasons come from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hybrid_platform.security.redaction import to_printable

CELL_LIMIT = 400
_ESCAPES = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]()#+!|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def cell(value: Any) -> str:
    """Return a value as the text of a table cell: one line, nothing in it is markup."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "–"
    return to_printable(str(value), CELL_LIMIT).translate(_ESCAPES)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; every cell is escaped."""
    lines = ["| " + " | ".join(map(cell, heads)) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)
