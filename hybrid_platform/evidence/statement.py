"""in-toto Statements, version 1: a predicate, and the SHA-256 of each file that it is about.

in: digests and a predicate · out: the payload of an envelope; and back, parsed strictly.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import msgspec

from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.files import encode_record, parse_json

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A subject's digest."""

    sha256: str


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file, by its name relative to the bundle."""

    name: str
    digest: Digest


_NAMES = {"type_": "_type", "predicate_type": "predicateType"}


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=_NAMES):
    """The signed payload."""

    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: dict[str, Any]
    type_: str = STATEMENT_TYPE

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file by name."""
        return {subject.name: subject.digest.sha256 for subject in self.subject}


def encode_statement(digests: dict[str, str], predicate_type: str, predicate: dict[str, Any]) -> bytes:
    """Return the payload as deterministic JSON, with the subjects in the order of their names."""
    subjects = tuple(Subject(name, Digest(digests[name])) for name in sorted(digests))
    return encode_record(Statement(subjects, predicate_type, predicate))


def parse_statement(payload: bytes, predicate_type: str) -> Statement:
    """Return the statement in a signed payload; raise EvidenceError if it is malformed or has another type."""
    statement: Statement = parse_json(payload, "statement", Statement)
    if (statement.type_, statement.predicate_type) != (STATEMENT_TYPE, predicate_type):
        was = f"{statement.type_[:80]!r} with {statement.predicate_type[:80]!r}"
        raise EvidenceError(f"statement: expected {STATEMENT_TYPE} with {predicate_type}, got {was}")
    names = [subject.name for subject in statement.subject]
    if names != sorted(set(names)):
        raise EvidenceError(f"statement: expected unique subjects in the order of their names, got {names}"[:300])
    for subject in statement.subject:
        path = PurePosixPath(subject.name)
        if path.is_absolute() or ".." in path.parts or str(path) != subject.name:
            raise EvidenceError(f"statement: expected names inside the bundle, got {subject.name[:80]!r}")
        if not _SHA256.fullmatch(subject.digest.sha256):
            was = f"{subject.digest.sha256[:80]!r}"
            raise EvidenceError(f"statement: {subject.name[:80]!r}: expected a SHA-256, got {was}")
    return statement
