"""The pieces of a report: sections of tables, notes, lines and pictures.

`model` builds them once from the evidence; `markdown`, `html` and the Dagster UI only render them. Nothing in a
block is escaped: each back end makes its own text safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

NOT_REACHED = "The run did not get so far."
"""Shown in a section without blocks."""


class Badge(str):
    """A verdict, shown as a coloured label where colours exist."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, numbers, booleans, `Badge` or None."""

    kind: ClassVar[str] = "table"
    heads: tuple[str, ...]
    """Empty: each row is a name and a value."""
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""
    is_folded: bool = False
    """Whether a page shows the title only, until the reader unfolds the table."""
    is_checklist: bool = False
    """Whether the rows are id, verdict, claim, expected and actual, and each must pass."""

    @property
    def numeric(self) -> set[int]:
        """The columns that hold only numbers, which are aligned to the right."""
        columns = zip(*self.rows, strict=True) if self.heads else ()
        return {place for place, cells in enumerate(columns) if all(type(cell) is int for cell in cells)}


@dataclass(frozen=True)
class Columns:
    """Small tables that a page may show in columns."""

    kind: ClassVar[str] = "columns"
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Note:
    """One sentence, with a verdict in front if it has one."""

    kind: ClassVar[str] = "note"
    text: str
    badge: Badge | None = None


@dataclass(frozen=True)
class Lines:
    """Preformatted lines."""

    kind: ClassVar[str] = "lines"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A drawing to put into a page, or an image file."""

    title: str
    drawing: Markup | None = None
    content: bytes = b""
    """Content of the image file; the title has its suffix."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of a page, and the paths of the image files for a report that links to them."""

    kind: ClassVar[str] = "pictures"
    pictures: tuple[Picture, ...]
    links: tuple[str, ...] = ()


Block = Table | Columns | Note | Lines | Pictures


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class SessionReport:
    """Everything that a report of one session shows."""

    session_id: str
    mode: str | None
    """None if the run did not get so far."""
    verdict: str
    """PASS or FAIL, over all evidence."""
    subtitle: str
    reasons: tuple[str, ...]
    """Why the session failed, the latest step first."""
    figures: Table
    sections: tuple[Section, ...]


def facts(*rows: tuple[str, Any], title: str = "") -> Table:
    """Return a table of names and values."""
    return Table((), rows, title)
