"""Markdown back end: `report.md` of a session, and tables that nothing from outside can break."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hybrid_platform.report.blocks import (
    NOT_REACHED,
    Block,
    Columns,
    Lines,
    Note,
    Section,
    SessionReport,
    Table,
)
from hybrid_platform.security.redaction import to_printable

CELL_LIMIT = 400
_ESCAPES = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]()#+!|~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def cell(value: Any) -> str:
    """Return a value as the text of a table cell: one line without markup."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if value is None:
        return "–"
    return to_printable(str(value), CELL_LIMIT).translate(_ESCAPES)


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table with every cell escaped."""
    lines = ["| " + " | ".join(map(cell, heads)) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def render_table(block: Table) -> str:
    """Return a table of the report model as Markdown, without its title."""
    return table(block.heads or ("", "value"), block.rows)


def render_report(report: SessionReport) -> str:
    """Return `report.md`."""
    kind = "Shadow" if report.mode in {None, "SHADOW"} else report.mode
    parts = [
        f"# {kind} run {report.session_id}: {report.verdict}",
        cell(report.subtitle),
        *([render_table(report.figures)] if report.figures.rows else []),
        *(part for section in report.sections for part in _section(section)),
        "## Conclusion",
        f"**{report.verdict}**",
        *(f"- {cell(reason)}" for reason in report.reasons),
    ]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> Iterable[str]:
    yield f"## {section.title}"
    if not section.blocks:
        yield NOT_REACHED
    yield from filter(None, map(_render, section.blocks))


def _render(block: Block) -> str:
    match block:
        case Table(is_checklist=True):
            return "\n".join(map(_check, block.rows))
        case Table():
            return (f"### {cell(block.title)}\n\n" if block.title else "") + render_table(block)
        case Columns():
            return "\n\n".join(map(_render, block.tables))
        case Note():
            return (f"**{cell(block.badge)}** " if block.badge else "") + cell(block.text)
        case Lines():
            # Indented, so that nothing in a line is markup.
            return "\n".join("    " + line for line in block.lines)
        case _:
            return "\n\n".join(f"![{link}]({link})" for link in block.links)


def _check(row: Sequence[Any]) -> str:
    id_, verdict, claim, _, actual = map(cell, row)
    return f"- [{'x' if verdict == 'PASS' else ' '}] **{id_}** {claim}: {verdict} ({actual})"
