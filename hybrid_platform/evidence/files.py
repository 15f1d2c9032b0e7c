"""Evidence files: records as deterministic JSON, written atomically and read back strictly.

in: a record and a name below the data directory · out: a file with mode 0600 and its SHA-256, and the record again.
JSON that two readers could understand differently (NaN, 1e999, a repeated key) is neither written nor accepted.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar, overload

import msgspec

from hybrid_platform.domain.decimals import canonical
from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.domain.text import deterministic_json
from hybrid_platform.security.paths import DataDir
from hybrid_platform.security.redaction import MASK, is_secret_name, redact

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 64
MAX_DIGITS = 400
"""Limit for one number: Python parses longer integers slowly, and refuses more than 4,300 digits with another error."""

CHECKS = "evidence/checks"
"""Folder of the evidence of checks and maintenance that run outside a session; names sort by time."""

_MARK = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
T = TypeVar("T")


def check_evidence_name(run_name: str, kind: str) -> str:
    """Return the name, below the data directory, of the evidence of a check or of maintenance outside a session.

    ``run_name`` begins with the time of the run, as a session's id does.
    """
    return f"{CHECKS}/{run_name}-{kind}.json"


def encode_record(record: object) -> bytes:
    """Return a record (msgspec Struct, mapping, sequence …) as deterministic JSON.

    Keys are sorted, the indent is two spaces, the text is ASCII and ends with a line end; Decimals are exact text and
    secrets are ``***``. Raises EvidenceError, with the place, for NaN, infinities, lone surrogates and values that
    are not plain data.
    """
    try:
        data = msgspec.to_builtins(record, builtin_types=(Decimal,), str_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise EvidenceError(f"{type(record).__name__}: expected plain data, got: {error}") from None
    return deterministic_json(_sanitized(data, "", 0), compact=False).encode("ascii") + b"\n"


def write_json(data_dir: DataDir, name: str | Path, record: object) -> str:
    """Write a record atomically and return the SHA-256 of the file, in hex.

    Raises EvidenceError for a record that is not plain data, and UnsafePathError and StorageError as DataDir does.
    """
    content = encode_record(record)
    data_dir.write_atomic(name, content)
    return sha256_bytes(content)


@overload
def read_json(data_dir: DataDir, name: str | Path) -> Any: ...
@overload
def read_json(data_dir: DataDir, name: str | Path, record_type: type[T]) -> T: ...
def read_json(data_dir: DataDir, name: str | Path, record_type: Any = Any) -> Any:
    """Return the record in a file.

    Raises EvidenceError if the file is missing or not strict JSON of this record type, and UnsafePathError and
    StorageError as DataDir does.
    """
    try:
        content = data_dir.read_bytes(name, MAX_BYTES)
    except FileNotFoundError:
        raise EvidenceError(f"{name}: expected a file, got missing") from None
    return parse_json(content, str(name), record_type)


def parse_json(content: bytes, name: str, record_type: Any = Any) -> Any:
    """Return the record in JSON text; raise EvidenceError unless it is strict JSON of this type."""
    if len(content) > MAX_BYTES:
        raise EvidenceError(f"{name}: expected at most {MAX_BYTES} bytes, got {len(content)}")
    try:
        text = content.decode("utf-8")
        _check_depth(text)
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short_integer,
        )
        json.dumps(data, ensure_ascii=False).encode()  # fails for a lone surrogate, which json.loads accepts
        return msgspec.convert(data, record_type)
    except (ValueError, RecursionError, EvidenceError, msgspec.ValidationError) as error:
        raise EvidenceError(f"{name}: expected strict JSON of the right shape, got: {str(error)[:300]}") from None


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(data_dir: DataDir, name: str | Path) -> str:
    """Return the SHA-256 of a file below the data directory, in hex, in bounded memory.

    Raises EvidenceError if it is missing, and UnsafePathError and StorageError as DataDir does.
    """
    try:
        with os.fdopen(data_dir.open(name, os.O_RDONLY), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise EvidenceError(f"{name}: expected a file, got missing") from None


def _sanitized(value: Any, where: str, depth: int) -> Any:
    """Return the data with Decimals as text and secrets masked; raise EvidenceError at the first unusable value."""
    if depth > MAX_DEPTH:
        raise EvidenceError(f"{where[:100]}…: expected at most {MAX_DEPTH} levels, got more")
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise EvidenceError(f"{where or 'record'}: expected text, got a lone surrogate")
        return redact(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise EvidenceError(f"{where or 'record'}: expected a finite number, got {value}")
        return canonical(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise EvidenceError(f"{where or 'record'}: expected a finite number, got {value}")
    if isinstance(value, Mapping):
        return {
            _sanitized(key, where, depth): MASK
            if isinstance(item, str) and item and is_secret_name(key)
            else _sanitized(item, f"{where}.{key}".lstrip("."), depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_sanitized(item, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
    return value


def _check_depth(text: str) -> None:
    """Raise ValueError for deep nesting, before the parser recurses into it."""
    depth = 0
    for match in _MARK.finditer(text):
        mark = match[0][0]
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"expected at most {MAX_DEPTH} levels, got more")
        elif mark in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"expected each key once, got {repeated!r} again")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"expected a finite number, got {text}")


def _finite(text: str) -> float:
    if len(text) > MAX_DIGITS or not math.isfinite(number := float(text)):
        raise ValueError(f"expected a finite number, got {text[:40]}")
    return number


def _short_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"expected an integer of at most {MAX_DIGITS} digits, got {len(text)}")
    return int(text)
