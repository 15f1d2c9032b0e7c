"""The verification matrix: every id of the contract with the result of its tests, signed for one commit (G5).

`analysis.matrix` runs the tests and writes the matrix; the LIVE gate reads it and trusts only its signature.
"""

from __future__ import annotations

import msgspec

from hybrid_platform.domain.contract import CONTRACT_IDS
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.dsse import parse_envelope, sign, verified_payload
from hybrid_platform.evidence.files import encode_record, parse_json
from hybrid_platform.evidence.keys import Signer, TrustedKeys
from hybrid_platform.security.paths import DataDir

MATRIX_TYPE = "application/vnd.hybrid-platform.matrix+json"


class MatrixRow(msgspec.Struct, frozen=True):
    """One id of the contract, with the result of its tests."""

    id: str
    claim: str
    command: str
    """The command that repeats the tests."""
    expected: str
    actual: str
    duration_s: float
    verdict: Verdict
    """PASS, FAIL, or NOT_RUN if no test has the id."""


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """The rows for one state of the code."""

    schema: int = 1
    version: str
    commit: str | None
    dirty: bool | None
    code_sha256: str
    python: str
    started_at: str
    ended_at: str
    rows: tuple[MatrixRow, ...]
    faults: tuple[str, ...] = ()
    """Problems outside the rows, such as a test module that could not be imported."""

    @property
    def unproved(self) -> tuple[str, ...]:
        """The ids of the contract without a passing proof."""
        passed = {row.id for row in self.rows if row.verdict is Verdict.PASS}
        return tuple(each for each in CONTRACT_IDS if each not in passed)

    @property
    def holds(self) -> bool:
        """Whether every row passed, without a fault."""
        return not self.faults and all(row.verdict is Verdict.PASS for row in self.rows)

    @property
    def is_full(self) -> bool:
        """Whether exactly the ids of the contract are proved, without a fault."""
        return not self.faults and not self.unproved and tuple(row.id for row in self.rows) == CONTRACT_IDS


def matrix_name(commit: str | None, dirty: bool | None) -> str:
    """Return the path, below the data directory, of the matrix for a state of the code, without its suffix."""
    return f"evidence/matrix/{commit or 'no-commit'}" + ("" if commit and dirty is False else "-dirty")


def write_matrix(data_dir: DataDir, matrix: Matrix, signer: Signer) -> str:
    """Write the matrix as JSON and as a signed envelope; return its path without the suffix."""
    name, payload = matrix_name(matrix.commit, matrix.dirty), encode_record(matrix)
    data_dir.write_atomic(f"{name}.json", payload)
    data_dir.write_atomic(f"{name}.dsse.json", sign(MATRIX_TYPE, payload, signer))
    return name


def read_matrix(data_dir: DataDir, commit: str, trusted: TrustedKeys) -> Matrix:
    """Return the signed matrix of a commit.

    Raises EvidenceError if no pinned key signed it, FileNotFoundError if it does not exist.
    """
    name = f"{matrix_name(commit, dirty=False)}.dsse.json"
    opened = verified_payload(parse_envelope(data_dir.read_bytes(name), name), MATRIX_TYPE, trusted)
    matrix: Matrix = parse_json(opened.payload, name, Matrix)
    return matrix
