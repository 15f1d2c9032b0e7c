"""Tests of the structured log: its lines, its rate limit, and its behaviour when a sink fails or blocks.

``ManualClock`` is a clock that a test moves, ``parse_lines`` parses a stream's lines, and ``log_one`` logs one line and
parses it.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_MS, NS_PER_S, SystemClock
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.domain.instruments import infer_instrument
from hybrid_platform.domain.log import Log
from hybrid_platform.domain.orders import Side
from hybrid_platform.domain.records import LoadAverage
from hybrid_platform.log.sanitize import to_json_safe
from hybrid_platform.log.session_log import RateLimit, SessionLog, render_text
from hybrid_platform.security.paths import DataDir, UnsafePathError

SESSION = "20260102T030405Z-1a2b3c4d"


class ManualClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_767_323_045_000_006_000

    def monotonic_ns(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        return self.now


def parse_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def log_one(message: str, **fields: object) -> dict[str, Any]:
    """Log one line and return it as a reader of the file sees it."""
    stream = io.StringIO()
    with SessionLog(SESSION, ManualClock(), stream=stream) as log:
        log.info(message, **fields)
    (line,) = parse_lines(stream)
    return line


def test_fixed_keys_come_first_and_fields_are_at_the_top_level(tmp_path: Path) -> None:
    stream = io.StringIO()
    log: Log = SessionLog(SESSION, ManualClock(), stream=stream, data_dir=DataDir(tmp_path))
    log.info("signal generated", reason_code="PERIODIC_TRIGGER", tick_count=10)
    assert isinstance(log, SessionLog)
    stats = log.close()
    assert (stats.written, stats.file_dropped, stats.stream_dropped, stats.errors) == (1, 0, 0, 0)
    file = tmp_path / "logs" / f"{SESSION}.jsonl"
    assert file.read_text() == stream.getvalue()
    assert stream.getvalue() == (
        '{"ts":"2026-01-02T03:04:05.000006Z","level":"info","session_id":"20260102T030405Z-1a2b3c4d",'
        '"message":"signal generated","reason_code":"PERIODIC_TRIGGER","tick_count":10}\n'
    )
    assert file.stat().st_mode & 0o777 == 0o600


def test_lines_below_the_threshold_are_not_written() -> None:
    stream = io.StringIO()
    with SessionLog(SESSION, ManualClock(), stream=stream, level="info") as log:
        log.debug("a")
        log.info("b")
        log.warning("c")
        log.error("d")
    assert [(line["level"], line["message"]) for line in parse_lines(stream)] == [
        ("info", "b"), ("warning", "c"), ("error", "d"),
    ]  # fmt: skip


def test_a_field_cannot_overwrite_a_fixed_key() -> None:
    fields: dict[str, Any] = {"ts": 1, "level": "x", "session_id": "y", "ts_": 2, "level_": 3}
    line = log_one("m", **fields)
    assert (line["ts"], line["level"], line["session_id"]) == ("2026-01-02T03:04:05.000006Z", "info", SESSION)
    assert {name: line[name] for name in line if name.endswith("_")} == {
        "ts_": 1, "level_": "x", "session_id_": "y", "ts__": 2, "level__": 3,
    }  # fmt: skip


def test_values_are_plain_exact_and_finite() -> None:
    line = log_one(
        "m",
        price=Decimal("101.250"), tiny=Decimal("1E-9"), side=Side.BUY, code=ExitCode.CONFIG,
        ts_event=1_767_323_045_000_006_789, count=np.int64(7), ratio=np.float64(0.5),
        nan=float("nan"), inf=float("-inf"),
        dnan=Decimal("NaN"), yes=True, none=None,
        pair=(1, "a"), load=LoadAverage(1.0, 2.0, 3.0), path=Path("a/b"), raw=b"\xff\x00",
        big=10**5000, error=ValueError("x\ny"),
        far=Decimal("1E+200000"), deep=[[[[[[[[1]]]]]]]], nested={"a": {"b": Decimal("1.0")}},
    )  # fmt: skip
    del line["ts"], line["level"], line["session_id"], line["message"]
    assert line == {
        "price": "101.25", "tiny": "0.000000001", "side": "BUY", "code": 12, "ts_event": 1_767_323_045_000_006_789,
        "count": 7, "ratio": 0.5, "nan": "nan", "inf": "-inf", "dnan": "NaN", "yes": True, "none": None,
        "pair": [1, "a"], "load": {"one_minute": 1.0, "five_minutes": 2.0, "fifteen_minutes": 3.0}, "path": "a/b",
        "raw": r"\xff\x00", "big": "integer of 16610 bits", "error": r"ValueError: x\ny", "far": "1E+200000",
        "deep": [[[[["…"]]]]], "nested": {"a": {"b": "1"}},
    }  # fmt: skip


def test_logging_hostile_values_does_not_raise() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

        __str__ = __repr__

    loop: list[object] = []
    loop.append(loop)
    line = log_one("m", hostile=Hostile(), loop=loop, surrogate="\ud800", keys={1: 2, None: 3, Hostile(): 4})
    assert line["hostile"] == "<Hostile that cannot be shown>"
    assert line["surrogate"] == r"\ud800"


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
))  # fmt: skip
def test_every_value_becomes_strict_json(value: object) -> None:
    json.dumps(to_json_safe(value), allow_nan=False).encode("ascii")


@pytest.mark.parametrize(
    "symbol",
    ["'; DROP TABLE ticks", "<img onerror=1>", "[a](b) | `c`", "=HYPERLINK(1)", "\u202eabc", "\u200b",
     "ＢＴＣ", "x" * 10_240,
     "\x1b[31m", '\r\n{"level":"info","message":"FINAL METRICS"}'],
    ids=lambda text: ascii(text)[:20],
)  # fmt: skip
def test_a_hostile_symbol_stays_inside_its_field(symbol: str) -> None:
    line = log_one("signal generated", symbol=symbol, **{symbol: 1})
    assert line["message"] == "signal generated"
    assert line["symbol"].isprintable()
    assert len(line["symbol"]) <= 4_000
    assert all(name.isprintable() for name in line)


def test_secrets_are_masked_everywhere_in_a_line() -> None:
    line = log_one(
        "cannot reach postgresql://bot:hunter2x@h/db",
        url="https://hunter2x@h/",
        api_key="hunter2x",
        config={"api_secret": ["hunter2x"], "note": "token=hunter2x"},
        error=ValueError("Bearer hunter2xhunter2x"),
        symbol="API_KEY=hunter2x",
        dump=str({"PGPASSWORD": "hunter2x"}),
    )
    assert "hunter2x" not in json.dumps(line)
    assert line["api_key"] == "***"


def test_a_session_id_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        SessionLog("../../x", ManualClock(), data_dir=DataDir(tmp_path))


def test_lines_of_many_threads_are_whole_and_ordered(tmp_path: Path) -> None:
    class Interrupted(SystemClock):
        def wall_ns(self) -> int:
            now = super().wall_ns()
            time.sleep(0.0001)  # lets another thread run between taking the time and queueing the line
            return now

    def write(writer: int) -> None:
        for n in range(100):
            log.info("m", writer=writer, n=n)

    with SessionLog(SESSION, Interrupted(), data_dir=DataDir(tmp_path)) as log:
        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = [json.loads(line) for line in (tmp_path / "logs" / f"{SESSION}.jsonl").read_text().splitlines()]
    assert sorted((line["writer"], line["n"]) for line in lines) == [(w, n) for w in range(4) for n in range(100)]
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)


def test_a_blocked_terminal_does_not_delay_the_file(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from hybrid_platform.domain.clocks import SystemClock\n"
        "from hybrid_platform.log.session_log import SessionLog\n"
        "from hybrid_platform.security.paths import DataDir\n"
        "log = SessionLog('s', SystemClock(), stream=sys.stdout, data_dir=DataDir(sys.argv[1]), queue_lines=2000)\n"
        "for n in range(1500): log.info('m', n=n, padding='x' * 1000)\n"
        "log.info('FINAL METRICS')\n"
        "print(*log.close(), file=sys.stderr)\n"
    )
    reader, writer = os.pipe()  # never read: 64 KB fit, then the writer blocks forever
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=buffered, timeout=60)
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 0, done.stderr
    written, file_dropped, stream_dropped, errors = map(int, done.stderr.split()[:4])
    assert (written, file_dropped, errors) == (1501, 0, 0)
    assert stream_dropped > 1000
    lines = (tmp_path / "logs" / "s.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["message"] == "FINAL METRICS"


def test_dropped_lines_are_counted_and_reported_in_their_place() -> None:
    blocked, release = threading.Event(), threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            blocked.set()
            release.wait(60)
            return super().write(text)

    stream = Slow()
    log = SessionLog(SESSION, ManualClock(), stream=stream, queue_lines=3)
    log.info("first")
    blocked.wait(60)
    for n in range(10):  # "first" is still in the queue, so two more fit
        log.info("m", n=n)
    release.set()
    stats = log.close(60)
    assert [line.get("n", line["message"]) for line in parse_lines(stream)] == ["first", 0, 1, "log lines dropped"]
    assert parse_lines(stream)[-1]["count"] == stats.stream_dropped == 8


def test_a_full_disk_loses_only_counted_lines(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from hybrid_platform.domain.clocks import SystemClock\n"
        "from hybrid_platform.log.session_log import SessionLog\n"
        "from hybrid_platform.security.paths import DataDir\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "log = SessionLog('s', SystemClock(), stream=sys.stdout, data_dir=DataDir(sys.argv[1]))\n"
        "for n in range(50): log.info('m', n=n)\n"
        "print(log.close(), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 50
    counted = re.fullmatch(
        r"LogStats\(written=(\d+), file_dropped=0, stream_dropped=0, errors=(\d+), (.*)\)\n", done.stderr
    )
    assert counted is not None
    assert int(counted[1]) + int(counted[2]) == 50
    assert int(counted[2]) > 0
    assert "File too large" in counted[3]


def test_a_broken_stream_loses_only_its_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    stream.close()
    log = SessionLog(SESSION, ManualClock(), stream=stream, data_dir=DataDir(tmp_path))
    log.info("m")
    stats = log.close()
    assert (stats.written, stats.stream_dropped, stats.errors) == (1, 1, 0)
    assert log.close() == stats, "closing twice changes nothing"
    log.info("too late")


def test_constructing_a_log_starts_no_thread(tmp_path: Path) -> None:
    """The first line of each sink starts its thread; closing an unused log leaves an empty file."""
    before = set(threading.enumerate())
    log = SessionLog(SESSION, ManualClock(), stream=io.StringIO(), data_dir=DataDir(tmp_path))
    assert set(threading.enumerate()) == before
    assert log.close().written == 0
    assert (tmp_path / "logs" / f"{SESSION}.jsonl").read_bytes() == b""


def test_a_refused_thread_loses_only_counted_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    log = SessionLog(SESSION, ManualClock(), data_dir=DataDir(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        log.info("first")
    log.info("second")
    assert log.close().written == 2


def test_text_rendering_is_one_line() -> None:
    stream = io.StringIO()
    with SessionLog(SESSION, ManualClock(), stream=stream, render=render_text) as log:
        log.warning("HEARTBEAT (G4)", tick_count=61, symbol="SOL/USDC\n", lag={"p50_us": 20})
    assert (
        stream.getvalue() == '03:04:05.000 WARNING HEARTBEAT (G4) tick_count=61 symbol=SOL/USDC\\n lag={"p50_us": 20}\n'
    )


def test_a_terminal_without_unicode_gets_escapes() -> None:
    raw = io.BytesIO()
    with SessionLog(SESSION, ManualClock(), stream=io.TextIOWrapper(raw, "ascii"), render=render_text) as log:
        log.info("für", price="1 €")
        log.close()
        assert raw.getvalue().decode("ascii") == r"03:04:05.000 INFO    f\xfcr price=1 \u20ac" + "\n"


def test_a_limited_message_is_thinned_after_the_first_hundred() -> None:
    clock, stream = ManualClock(), io.StringIO()
    with SessionLog(SESSION, clock, stream=stream) as log:
        for _ in range(1_000):  # 1,000 in each of three seconds
            log.limited("info", "signal generated", reason_code="X")
        for _ in range(2):
            clock.now += NS_PER_S
            for _ in range(1_000):
                log.limited("info", "signal generated", reason_code="X")
            log.limited("info", "another message")
    *lines, left_out = parse_lines(stream)
    signals = [line for line in lines if line["message"] == "signal generated"]
    assert len(signals) == 100 + 10 + 10
    assert all("suppressed" not in line for line in signals[:100])
    assert [line["suppressed"] for line in signals[100:]] == [900, *[0] * 9, 990, *[0] * 9]
    assert len(lines) == len(signals) + 2
    assert (left_out["message"], left_out["of"], left_out["suppressed"]) == (
        "log lines left out",
        "signal generated",
        990,
    )


@given(st.lists(st.integers(0, 400 * NS_PER_MS), max_size=300), st.integers(0, 20), st.integers(1, 10))
def test_the_rate_limit_holds_and_counts_everything(gaps: list[int], full: int, a_second: int) -> None:
    clock = ManualClock()
    limit = RateLimit(clock, full, a_second)
    admitted: list[int] = []
    suppressed = 0
    for gap in gaps:
        clock.now += gap
        fields = limit.admit("m")
        if fields is not None:
            admitted.append(clock.now)
            suppressed += fields.get("suppressed", 0)
    assert len(admitted) + suppressed + limit.take_suppressed().get("m", 0) == len(gaps)
    assert len(admitted) >= min(full, len(gaps))
    beyond = admitted[full:]
    for earlier, later in zip(beyond, beyond[a_second:], strict=False):
        assert later - earlier >= NS_PER_S


def test_further_kinds_share_one_count() -> None:
    limit = RateLimit(ManualClock(), full_lines=1, lines_per_second=1)
    assert sum(limit.admit(f"kind {n}") is not None for n in range(5_000)) == 1_001
    assert limit.take_suppressed() == {"(others)": 3_999}


def test_an_instrument_is_logged_by_its_fields() -> None:
    assert log_one("m", instrument=infer_instrument("REPLAY", "SPY"))["instrument"]["symbol"] == "SPY"
