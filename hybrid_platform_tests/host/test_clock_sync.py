"""Clock synchronisation: read from the kernel, reported, and required only by setting."""

from __future__ import annotations

import ctypes
import errno
import sys
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.records import ClockSync, DatabaseReport, HealthcheckRecord, Verdict
from hybrid_platform.host.clock_sync import _TIMEX, Adjtimex, read_clock_sync
from hybrid_platform.host.healthcheck import format_health_lines, run_healthcheck
from hybrid_platform.host.system import read_system_state

GOOD = DatabaseReport(exists=True, readable=True, schema="0002", ticks=1, detail="")
UNSYNC, NANO = 0x40, 0x2000


def kernel(state: int, status: int, *, offset: int = 0, maximum: int = 0, estimated: int = 0) -> Adjtimex:
    def adjtimex(buffer: ctypes.Array[ctypes.c_char]) -> int:
        values = [0] * 32
        values[1], values[3], values[4], values[5] = offset, maximum, estimated, status
        _TIMEX.pack_into(buffer, 0, *values)
        return state

    return adjtimex


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (kernel(0, 0x1, offset=250, maximum=9_000, estimated=1_500), (True, 1.5, 9.0, 0.25)),
        (kernel(0, 0x1 | NANO, offset=250_000, maximum=9_000, estimated=1_500), (True, 1.5, 9.0, 0.25)),
        (kernel(5, UNSYNC, maximum=16_000_000, estimated=16_000_000), (False, 16_000.0, 16_000.0, 0.0)),
        (kernel(5, 0), (False, 0.0, 0.0, 0.0)),
        (kernel(0, UNSYNC), (False, 0.0, 0.0, 0.0)),
    ],
)
def test_the_kernels_clock_state_is_read(asked: Adjtimex, expected: tuple[object, ...]) -> None:
    found = read_clock_sync(asked)
    assert (found.is_synchronised, found.estimated_error_ms, found.maximum_error_ms, found.offset_ms) == expected


def refused(_buffer: ctypes.Array[ctypes.c_char]) -> int:
    raise PermissionError(errno.EPERM, "adjtimex")


def test_an_unreadable_clock_state_is_reported_as_unknown() -> None:
    assert read_clock_sync(refused) == ClockSync(None, None, None, None, "adjtimex: Operation not permitted")


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex is Linux's")
def test_this_hosts_kernel_is_read_without_setting_anything(tmp_path: Path) -> None:
    found = read_clock_sync()
    assert found == read_clock_sync() or found.is_synchronised is not None
    assert ctypes.sizeof(ctypes.c_long) != 8 or _TIMEX.size == 208, "the size of struct timex"
    state = read_system_state(SystemClock(), tmp_path)
    assert state.clock is not None
    assert state.clock.is_synchronised == found.is_synchronised


def check(tmp_path: Path, asked: Adjtimex, *, required: bool) -> HealthcheckRecord:
    return run_healthcheck(
        lambda: GOOD, tmp_path, SystemClock(), dashboard_port=1, require_clock_sync=required,
        read_sync=lambda: read_clock_sync(asked),
    )  # fmt: skip


@pytest.mark.scenario("G1")
@pytest.mark.parametrize(
    ("asked", "line", "verdict", "when_required"),
    [
        (kernel(0, 1, estimated=1_234), "synchronised, off by about 1.234 ms", Verdict.PASS, Verdict.PASS),
        (kernel(5, UNSYNC), "expected to be synchronised, got not (not required)", Verdict.FAIL, Verdict.FAIL),
        (refused, "UNAVAILABLE: adjtimex: Operation not permitted (not required)", Verdict.UNAVAILABLE, Verdict.FAIL),
    ],
)
def test_clock_sync_fails_the_healthcheck_only_if_required(tmp_path, asked, line, verdict, when_required) -> None:
    record = check(tmp_path, asked, required=False)
    lines = format_health_lines(record)
    assert (lines[-2], lines[-1]) == (f"[health] clock: {line}", "[health] PASS")
    assert record.items[-1].verdict is verdict
    assert check(tmp_path, asked, required=True).verdict is when_required
