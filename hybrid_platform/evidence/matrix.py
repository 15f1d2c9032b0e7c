"""The verification matrix as a record: the whole contract, each id with its proof, signed for one commit (G5).

Written by `report.matrix`, which runs the proofs; read by the LIVE gate, which believes only a signature.
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
    """One id of the contract, and how its proof went."""

    id: str
    claim: str
    command: str
    """What proves it, to be run again."""
    expected: str
    actual: str
    duration_s: float
    verdict: Verdict
    """PASS, FAIL, or NOT_RUN where no test bears the id."""


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, for one state of the code."""

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
    """What went wrong beside the rows, e.g. a test module that could not be imported."""

    @property
    def unproved(self) -> tuple[str, ...]:
        """The ids of the contract without a passing proof."""
        passed = {row.id for row in self.rows if row.verdict is Verdict.PASS}
        return tuple(each for each in CONTRACT_IDS if each not in passed)

    @property
    def holds(self) -> bool:
        """Whether each row that was run is proved, and nothing went wrong beside them."""
        return not self.faults and all(row.verdict is Verdict.PASS for row in self.rows)

    @property
    def is_full(self) -> bool:
        """Whether every id of the contract, and nothing else, is proved."""
        return not self.faults and not self.unproved and tuple(row.id for row in self.rows) == CONTRACT_IDS


def matrix_name(commit: str | None, dirty: bool | None) -> str:
    """Return the name, below the data directory, of the matrix of a state of the code, without an ending."""
    return f"evidence/matrix/{commit or 'no-commit'}" + ("" if commit and dirty is False else "-dirty")


def write_matrix(data_dir: DataDir, matrix: Matrix, signer: Signer) -> str:
    """Write the matrix, readable and signed; return its name without an ending."""
    name, payload = matrix_name(matrix.commit, matrix.dirty), encode_record(matrix)
    data_dir.write_atomic(f"{name}.json", payload)
    data_dir.write_atomic(f"{name}.dsse.json", sign(MATRIX_TYPE, payload, signer))
    return name


def read_matrix(data_dir: DataDir, commit: str, trusted: TrustedKeys) -> Matrix:
    """Return the signed matrix of a commit.

    Raises EvidenceError where no pinned key signed it, FileNotFoundError where there is none.
    """
    name = f"{matrix_name(commit, dirty=False)}.dsse.json"
    opened = verified_payload(parse_envelope(data_dir.read_bytes(name), name), MATRIX_TYPE, trusted)
    matrix: Matrix = parse_json(opened.payload, name, Matrix)
    return matrix
