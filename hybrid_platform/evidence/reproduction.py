"""Records of ``reproduce.json``: the result of recomputing a finished session from its ticks and inputs (S8).

The file lies below ``reports/<session_id>/``, because the evidence is sealed by then; each reproduction overwrites it.
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
    """Verdict of a reproduction."""

    PASS = "PASS"  # noqa: S105
    """The whole session was recomputed, and every row is equal."""
    FAIL = "FAIL"
    """A row differs from the one that the same ticks and inputs give; the evidence has the first such row."""
    INCOMPLETE = "INCOMPLETE"
    """Only a part of the session could be recomputed; that part is equal."""

    @property
    def exit_code(self) -> int:
        """The exit code of ``hybrid-platform reproduce``."""
        return {"PASS": 0, "FAIL": 1, "INCOMPLETE": 3}[self.value]


class Difference(msgspec.Struct, frozen=True):
    """One row that differs."""

    table: str
    n: int
    key: str
    """The id of the row (of its signal, order or trade); of the recorded row if there is one."""
    field: str
    """The first column that differs; ``row`` if the whole row is missing or unexpected."""
    expected: str
    """The value that the same ticks and inputs give."""
    was: str
    """The value in the database."""

    def __str__(self) -> str:
        return f"{self.table} n={self.n} ({self.key}) {self.field}: expected {self.expected}, got {self.was}"


class TableComparison(msgspec.Struct, frozen=True):
    """The comparison of one table, row by row."""

    name: str
    recorded: int
    """Rows in the database."""
    reproduced: int
    """Recomputed rows."""
    compared: int
    differing: int
    recorded_sha256: str
    """Digest of the compared rows in the database, in order."""
    reproduced_sha256: str
    first: Difference | None


class WrittenRows(msgspec.Struct, frozen=True):
    """Digests in ``session.json`` of the rows from which a session is reproduced."""

    ticks: RowFigures
    inputs: RowFigures


class MissingTicks(msgspec.Struct, frozen=True):
    """A range of ticks that are not in the database."""

    first: int
    last: int
    is_needed: bool
    """Whether the strategy saw one of them; then no later decision can be repeated."""


class ReproductionEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of one reproduction."""

    schema: int = 1
    kind: str = REPRODUCE
    session_id: str
    verdict: ReproductionVerdict
    reasons: tuple[str, ...]
    """Why the verdict is not PASS; empty for PASS."""
    first: Difference | None
    """The first differing row, in the order in which the session decided."""
    started_at: str
    ended_at: str
    state: str
    """State of the session."""
    recorded_by: str
    """The code that ran the session."""
    code: CodeIdentity
    """The code that reproduced it."""
    config_sha256: str
    trading_sha256: str
    ticks: int
    """Ticks in the database."""
    accepted: int | None
    """Ticks that the session numbered, according to its ledger; None without a ledger."""
    dropped: int
    """Ticks that never reached the strategy, according to the journal; the reproduction dropped them too."""
    shown: int
    """Ticks that the strategy received in the reproduction."""
    inputs: dict[str, int]
    """Number of journal entries by kind."""
    holes: tuple[MissingTicks, ...]
    """The first missing ranges."""
    missing: int
    """Number of missing ticks."""
    evicted: int
    """Ticks that the session did not persist, according to its ledger."""
    tables: tuple[TableComparison, ...]
    signals_sha256: str
    """Digest of the reproduced signals over lines ``seq,SIDE``, comparable with the one in ``session.json``."""
    enforced: Enforced | None = None
    """The sandbox of the strategy's code, as it was read back; None if the code ran without one."""
    denied: tuple[Denied, ...] = ()
    """Attempts of that code that the sandbox denied (I1)."""

    @property
    def exit_code(self) -> int:
        """The exit code of ``hybrid-platform reproduce``."""
        return self.verdict.exit_code


def reproduction_name(session_id: str) -> str:
    """Return the path of a session's ``reproduce.json`` below the data directory."""
    return f"reports/{session_id}/{REPRODUCE}.json"


def read_reproduction(data_dir: DataDir, session_id: str) -> ReproductionEvidence | None:
    """Return the last reproduction of a session, or None; raise EvidenceError if the file is invalid."""
    name = reproduction_name(session_id)
    return read_json(data_dir, name, ReproductionEvidence) if data_dir.resolve(name).exists() else None
