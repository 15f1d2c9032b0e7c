"""Evidence files: deterministic text, atomic writes, and strict reading."""

from __future__ import annotations

import hashlib
import json
import math
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.errors import EvidenceError, StorageError
from hybrid_platform.domain.records import CpuPressure, HealthcheckItem, HealthcheckRecord, PressureSource, Verdict
from hybrid_platform.evidence.files import encode_record, parse_json, read_json, sha256_file, write_json
from hybrid_platform.security.paths import DataDir, UnsafePathError

RECORD = HealthcheckRecord(1, (HealthcheckItem("db", Verdict.PASS, "é new"),), Verdict.PASS, "", 0.25)


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


def test_a_record_comes_back_equal_from_its_private_file(data: DataDir) -> None:
    digest = write_json(data, "evidence/s/preflight.json", RECORD)
    file = data.root / "evidence" / "s" / "preflight.json"
    assert file.read_text() == (
        '{\n  "items": [\n    {\n      "detail": "\\u00e9 new",\n      "name": "db",\n      "required": true,\n'
        '      "verdict": "PASS"\n    }\n  ],\n  "took_s": 0.25,\n  "ts": 1,\n  "verdict": "PASS",\n  "why": ""\n}\n'
    )
    assert file.stat().st_mode & 0o777 == 0o600
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest() == sha256_file(data, "evidence/s/preflight.json")
    assert read_json(data, "evidence/s/preflight.json", HealthcheckRecord) == RECORD


json_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc Aé", max_size=4), inner, max_size=4),
    max_leaves=25,
)


@given(json_data)
def test_plain_data_survives_a_round_trip(value: object) -> None:
    assert parse_json(encode_record(value), "x") == value


@given(st.dictionaries(st.text("abcdef", max_size=4), st.integers(), max_size=6))
def test_the_order_of_keys_does_not_change_the_text(value: dict[str, int]) -> None:
    assert encode_record(value) == encode_record(dict(reversed(value.items())))


def test_decimals_are_exact_text() -> None:
    assert json.loads(encode_record({"pnl": Decimal("1E+2"), "fee": Decimal("-0.10"), "zero": Decimal("-0")})) == {
        "pnl": "100", "fee": "-0.1", "zero": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1.0, math.nan]}, r"a\[1\]: expected a finite number, got nan"),
        (CpuPressure(0, PressureSource.UNAVAILABLE, math.inf), "load_percent: expected a finite number, got inf"),
        ({"d": Decimal("NaN")}, "d: expected a finite number, got NaN"),
        ({"s": "\ud800"}, "s: expected text, got a lone surrogate"),
        ({"\udfff": 1}, "expected text, got a lone surrogate"),
        ({"o": object()}, "dict: expected plain data"),
    ],
)
def test_a_value_that_is_not_data_is_refused(data: DataDir, value: object, where: str) -> None:
    """The error names its place, and nothing is written."""
    with pytest.raises(EvidenceError, match=where):
        write_json(data, "a.json", value)
    assert not data.root.exists()


def test_data_without_end_is_refused() -> None:
    nested: object = 1
    for _ in range(70):
        nested = [nested]
    loop: list[object] = []
    loop.append(loop)
    for value in (nested, loop):
        with pytest.raises(EvidenceError):
            encode_record(value)


def test_no_secret_reaches_the_evidence() -> None:
    text = encode_record(
        {"database_url": "postgresql://bot:hunter2x@h/db", "api_key": "hunter2x", "why": ["Bearer hunter2xhunter2x"]}
    )
    assert b"hunter2x" not in text
    assert json.loads(text)["api_key"] == "***"


BAD_JSON = {
    "nothing": b"",
    "not json": b"{",
    "NaN": b'{"a": NaN}',
    "Infinity": b"[-Infinity]",
    "1e999": b'{"a": 1e999}',
    "-1e999": b"[-1e999]",
    "twice": b'{"a": 1, "a": 2}',
    "twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "twice, deep": b'[{"b": {"a": 1, "a": 1}}]',
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "65 levels": b"[" * 65 + b"]" * 65,
    "long integer": b"1" * 5_000,
    "long fraction": b"0." + b"1" * 5_000,
    "huge exponent": b"1e200000",
    "two values": b"{} {}",
    "trailing comma": b"[1,]",
    "comment": b"// x\n{}",
    "single quotes": b"{'a': 1}",
    "NUL": b'{"a": "\x00"}',
    "control character": b'"a\nb"',
    "lone surrogate": b'"\\ud800"',
    "raw surrogate": b'"\xed\xa0\x80"',
    "BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": b'"\xe9"',
    "underscore": b"1_000",
    "Arabic digits": "١٢".encode(),
    "unterminated": b'{"a": "' + b"x" * 1000,
    "unterminated with quotes": b'"\\' + b'\\"' * 100_000,
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_ambiguous_or_broken_json_is_refused(data: DataDir, content: bytes) -> None:
    data.write_atomic("a.json", content)
    with pytest.raises(EvidenceError, match=r"^a\.json: expected strict JSON") as refused:
        read_json(data, "a.json")
    assert len(str(refused.value)) < 500


def test_brackets_inside_strings_are_no_depth() -> None:
    assert parse_json(json.dumps(["[{" * 1000, '\\"[' * 100]).encode(), "x") == ["[{" * 1000, '\\"[' * 100]
    assert parse_json(b"[" * 64 + b"]" * 64, "x")


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"ts": "1"}', b'{"ts": true}', b"null"])
def test_a_record_of_another_shape_is_refused(data: DataDir, content: bytes) -> None:
    data.write_atomic("a.json", content)
    with pytest.raises(EvidenceError, match="of the right shape"):
        read_json(data, "a.json", CpuPressure)


def test_missing_linked_and_oversized_files_differ(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for read in (read_json, sha256_file):
        with pytest.raises(EvidenceError, match=r"a\.json: expected a file, got missing"):
            read(data, "a.json")
    data.make_dir("in")
    (tmp_path / "elsewhere.json").write_text("{}")
    (data.root / "link.json").symlink_to(tmp_path / "elsewhere.json")
    for read in (read_json, sha256_file):
        with pytest.raises(UnsafePathError):
            read(data, "link.json")
    monkeypatch.setattr("hybrid_platform.evidence.files.MAX_BYTES", 10)
    write_json(data, "long.json", "x" * 20)
    with pytest.raises(StorageError, match="expected at most 10 bytes"):
        read_json(data, "long.json")
