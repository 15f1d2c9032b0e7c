"""Export of a session's tables to files."""

from __future__ import annotations

import csv
import stat
from decimal import Decimal

import pyarrow.parquet
import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.domain.orders import Side, TradeRecord, VetoReason, VetoRecord
from hybrid_platform.storage.engine import transaction
from hybrid_platform.storage.errors import DatabaseError
from hybrid_platform.storage.export import export_session
from hybrid_platform.storage.frames import frames
from hybrid_platform.storage.views import PUBLIC_TABLES
from hybrid_platform_tests.storage.conftest import SESSION


def test_an_exported_session_is_complete_and_exact(finished, tmp_path):
    files = dict(export_session(finished, SESSION, tmp_path / "out", rows_at_once=3_000))
    tables = frames(finished, SESSION)
    assert [path.stem for path in files] == list(PUBLIC_TABLES)
    for path, rows in files.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        read = pyarrow.parquet.read_table(path)
        assert read.num_rows == rows == len(tables[path.stem])
        assert read.column_names == list(tables[path.stem].columns)
    ticks = pyarrow.parquet.read_table(tmp_path / "out" / "ticks.parquet").to_pandas()
    assert ticks["price"].equals(tables["ticks"]["price"])
    assert ticks["seq"].tolist() == list(range(1, 10_001))
    trades = pyarrow.parquet.read_table(tmp_path / "out" / "trades.parquet").to_pylist()
    assert {trade["fees"] for trade in trades} == {"0.01002"}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


def test_chosen_tables_are_exported_as_csv(finished, tmp_path):
    assert export_session(finished, SESSION, tmp_path, kind="csv", tables=["trades"]) == [(tmp_path / "trades.csv", 40)]
    with (tmp_path / "trades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == [str(k) for k in range(1, 41)]
    assert {row["fill_price"] for row in rows} == {"100.2"}
    with pytest.raises(ConfigError, match="tables: expected of sessions, ticks"):
        export_session(finished, SESSION, tmp_path, tables=["../../etc/passwd"])


def test_no_text_of_a_csv_file_is_a_formula(writing, writer, reading, tmp_path):
    texts = ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "\rx", "\nx", "plain", "a=b", 'quo"te', "", "'x", "grün"]
    writer.write(
        [],
        [VetoRecord(f"S{k}", k, "V", "X", VetoReason.RISK_CAP, text, 0) for k, text in enumerate(texts)]
        + [TradeRecord(1, "T1", "O1", "V", "X", Side.BUY, Decimal(1), Decimal("-37.63"), Decimal("-0.5"), True, 0)],
    )
    export_session(reading, SESSION, tmp_path, kind="csv")
    with (tmp_path / "vetoes.csv").open(newline="", encoding="utf-8") as file:
        details = [row["detail"] for row in csv.DictReader(file)]
    assert details == [f"'{text}" if text[:1] in tuple("=+-@\t\r\n") else text for text in texts]
    with (tmp_path / "trades.csv").open(newline="") as file:
        assert [(row["fill_price"], row["fees"]) for row in csv.DictReader(file)] == [("-37.63", "-0.5")]


def test_a_failed_export_keeps_the_older_file(finished, writing, tmp_path):
    export_session(finished, SESSION, tmp_path, tables=["trades"])
    before = (tmp_path / "trades.parquet").read_bytes()
    with transaction(writing, "tampering") as connection:
        connection.exec_driver_sql("UPDATE trade_rows SET fees = 'much' WHERE n = 7")
    with pytest.raises(DatabaseError):
        export_session(finished, SESSION, tmp_path, tables=["trades"])
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["trades.parquet"]
    assert (tmp_path / "trades.parquet").read_bytes() == before


def test_an_export_follows_no_link(finished, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="a directory, not a link"):
        export_session(finished, SESSION, tmp_path / "out")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "real" / "trades.parquet").symlink_to(tmp_path / "victim")
    (tmp_path / "real" / ".trades.parquet.partial").symlink_to(tmp_path / "victim")
    export_session(finished, SESSION, tmp_path / "real", tables=["trades"])
    assert (tmp_path / "victim").read_text() == "mine"


def test_an_export_into_a_file_or_a_full_device_is_an_error(finished, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DatabaseError, match="exporting to"):
            export_session(finished, SESSION, folder)
