"""`reproduce.json`: what came out when a finished session was decided again from its ticks and inputs (S8).

Below ``reports/<session_id>/``: the evidence itself is sealed by then. Written as often as it is done.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from hybrid_platform.domain.isolation import Denied, Enforced
from hybrid_platform.domain.records import CodeIdentity
from hybrid_platform.evidence.files import read_json
from hybrid_platform.evidence.records import RowFigures
from hybrid_platform.security.paths import DataDir

REPRODUCE = "reproduce"
MAX_LISTED_GAPS = 20


class ReproductionVerdict(StrEnum):
    """How a reproduction ended."""

    PASS = "PASS"  # noqa: S105
    """All of the session was decided again, and every row is the same."""
    FAIL = "FAIL"
    """A row is not what the same ticks and inputs give; the first one is named."""
    INCOMPLETE = "INCOMPLETE"
    """What could be decided again is the same, but that is not all of it; never a PASS."""

    @property
    def exit_code(self) -> int:
        """What ``hybrid-platform reproduce`` exits with."""
        return {"PASS": 0, "FAIL": 1, "INCOMPLETE": 3}[self.value]


class Difference(msgspec.Struct, frozen=True):
    """One row that is not the same."""

    table: str
    n: int
    key: str
    """The row's own id: a signal's, an order's, a trade's; of the recorded row where there is one."""
    field: str
    """The first column that differs; ``row`` where the whole row is missing, or too many."""
    expected: str
    """What the same ticks and inputs give."""
    was: str
    """What the database has."""

    def __str__(self) -> str:
        return f"{self.table} n={self.n} ({self.key}) {self.field}: expected {self.expected}, got {self.was}"


class TableComparison(msgspec.Struct, frozen=True):
    """One table, row by row."""

    name: str
    recorded: int
    """Rows in the database."""
    reproduced: int
    """Rows that were decided again."""
    compared: int
    differing: int
    recorded_sha256: str
    """Over the compared rows, in order, as the database has them."""
    reproduced_sha256: str
    first: Difference | None


class WrittenRows(msgspec.Struct, frozen=True):
    """What session.json says of the rows that a session can be reproduced from."""

    ticks: RowFigures
    inputs: RowFigures


class MissingTicks(msgspec.Struct, frozen=True):
    """Ticks that are not in the database."""

    first: int
    last: int
    is_needed: bool
    """The strategy saw them: nothing after them can be decided again."""


class ReproductionEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """One reproduction."""

    schema: int = 1
    kind: str = REPRODUCE
    session_id: str
    verdict: ReproductionVerdict
    reasons: tuple[str, ...]
    """Why it is no PASS; empty where it is."""
    first: Difference | None
    """The first row that is not the same, in the order in which the session decided."""
    started_at: str
    ended_at: str
    state: str
    """Of the session."""
    recorded_by: str
    """The code that ran the session."""
    code: CodeIdentity
    """The code that decided again."""
    config_sha256: str
    trading_sha256: str
    ticks: int
    """Ticks in the database."""
    accepted: int | None
    """Ticks that the session numbered, by its ledger; None where it wrote none."""
    dropped: int
    """Ticks that never reached the strategy, by the journal: they were dropped again."""
    shown: int
    """Ticks that the strategy was shown again."""
    inputs: dict[str, int]
    """Entries of the journal by kind."""
    holes: tuple[MissingTicks, ...]
    """The first of them."""
    missing: int
    """Ticks in all holes."""
    evicted: int
    """Ticks that the session itself says it did not persist, by its ledger."""
    tables: tuple[TableComparison, ...]
    signals_sha256: str
    """Of the reproduced signals, over the lines ``seq,SIDE``, as session.json has it of the recorded ones."""
    enforced: Enforced | None = None
    """The guard that the strategy's code ran behind, as it was read back; None where none of it was run behind one."""
    denied: tuple[Denied, ...] = ()
    """What that code tried and was denied (I1)."""

    @property
    def exit_code(self) -> int:
        """What ``hybrid-platform reproduce`` exits with."""
        return self.verdict.exit_code


def reproduction_name(session_id: str) -> str:
    """Return the name of a session's `reproduce.json` below the data directory."""
    return f"reports/{session_id}/{REPRODUCE}.json"


def read_reproduction(data_dir: DataDir, session_id: str) -> ReproductionEvidence | None:
    """Return the last reproduction of a session, or None; raise EvidenceError for a file that is none."""
    name = reproduction_name(session_id)
    return read_json(data_dir, name, ReproductionEvidence) if data_dir.resolve(name).exists() else None
