"""The pressure gate (G2): PSI files, the load average without them, and a reported wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import NS_PER_S, SystemClock
from hybrid_platform.domain.records import CpuPressure, LoadAverage, PressureAverages, PressureSource, Verdict
from hybrid_platform.host.pressure import PSI_ROOT, read_pressure, wait_for_pressure

SOME = "some avg10=2.79 avg60=1.54 avg300=0.40 total=7106032\n"
FULL = "full avg10=0.01 avg60=0.02 avg300=0.03 total=4\n"


class WaitingClock:
    """Clock that advances only by waits on it; it also serves as the stop event."""

    def __init__(self) -> None:
        self.now = 0
        self.stop_at = float("inf")

    def monotonic_ns(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        return self.now

    def is_set(self) -> bool:
        return self.now / NS_PER_S >= self.stop_at

    def wait(self, timeout: float | None = None) -> bool:
        self.now += int((timeout or 0) * NS_PER_S)
        return self.is_set()


def psi(root: Path, text: str) -> Path:
    for name in ("cpu", "memory", "io"):
        (root / name).write_text(text)
    return root


def load(one_minute: float) -> LoadAverage:
    return LoadAverage(one_minute, 0.0, 0.0)


def readings(root: Path, *percents: float) -> Iterator[CpuPressure]:
    """Rewrite the PSI files and yield a reading for each percentage, then the last one repeatedly."""
    for percent in percents:
        psi(root, SOME.replace("2.79", f"{percent:.2f}"))
        yield read_pressure(SystemClock(), root)
    while True:
        yield read_pressure(SystemClock(), root)


@pytest.mark.scenario("G2")
def test_all_figures_of_every_resource_are_read(tmp_path: Path) -> None:
    reading = read_pressure(SystemClock(), psi(tmp_path, SOME + FULL))
    assert reading.source is PressureSource.PSI
    for resource in (reading.cpu, reading.memory, reading.io):
        assert resource is not None
        assert resource.some == PressureAverages(2.79, 1.54, 0.40, 7106032)
        assert resource.full == PressureAverages(0.01, 0.02, 0.03, 4)
    assert reading.percent == 2.79


def test_a_kernel_without_a_full_line_is_supported(tmp_path: Path) -> None:
    reading = read_pressure(SystemClock(), psi(tmp_path, SOME))
    assert reading.cpu is not None
    assert reading.cpu.full is None


def test_this_hosts_own_pressure_is_read() -> None:
    reading = read_pressure(SystemClock())
    assert (reading.source is PressureSource.PSI) == (PSI_ROOT / "cpu").exists()
    assert reading.percent >= 0


@pytest.mark.scenario("G2")
@pytest.mark.parametrize(
    "text", ["", "some avg10=nan avg60=0 avg300=0 total=0", "some avg10=1_0.0", "\x00\xff", FULL, SOME * 0]
)
def test_without_psi_the_load_average_is_used(tmp_path: Path, text: str) -> None:
    psi(tmp_path, text)
    for root in (tmp_path, tmp_path / "none"):
        reading = read_pressure(SystemClock(), root, lambda: load(1.5), cores=4)
        assert reading.source is PressureSource.UNAVAILABLE
        assert reading.percent == 37.5


def test_a_host_without_any_figure_counts_as_fully_loaded(tmp_path: Path) -> None:
    reading = read_pressure(SystemClock(), tmp_path, lambda: None)
    assert wait_for_pressure(99, 0, lambda: reading, SystemClock(), threading.Event(), lambda *_: None).verdict.blocks


@pytest.mark.scenario("G2")
def test_pressure_that_falls_in_time_passes_with_both_readings(tmp_path: Path) -> None:
    clock, reports = WaitingClock(), []
    source = readings(tmp_path, 80, 60, 40, 30, 25, 21, 20, 19.99)
    gate = wait_for_pressure(
        20, 60, source.__next__, clock, clock, lambda last, remaining: reports.append((last.percent, remaining))
    )
    assert gate.verdict is Verdict.PASS
    assert (gate.first.percent, gate.last.percent, gate.waited_s) == (80, 19.99, 7)
    assert reports == [(80, 60), (21, 55)], "reported immediately, then every five seconds"


@pytest.mark.scenario("G2")
def test_constant_pressure_fails_after_the_whole_wait(tmp_path: Path) -> None:
    clock = WaitingClock()
    gate = wait_for_pressure(20, 12.5, readings(tmp_path, 20).__next__, clock, clock, lambda *_: None)
    assert (gate.verdict, gate.waited_s) == (Verdict.FAIL, 12.5), "20 is not below 20"
    assert gate.why == "some avg10: expected < 20 %, got 20 % after 12.5 s"


@pytest.mark.scenario("G2")
def test_a_limit_of_zero_fails_immediately_on_an_idle_host(tmp_path: Path) -> None:
    clock, reports = WaitingClock(), []
    gate = wait_for_pressure(
        0, 60, readings(tmp_path, 0).__next__, clock, clock, lambda *report: reports.append(report)
    )
    assert (gate.verdict, gate.waited_s, reports) == (Verdict.FAIL, 0, [])


@pytest.mark.scenario("G2")
def test_a_limit_of_a_hundred_disables_the_gate(tmp_path: Path) -> None:
    clock = WaitingClock()
    gate = wait_for_pressure(100, 60, readings(tmp_path, 100).__next__, clock, clock, lambda *_: None)
    assert (gate.verdict, gate.waited_s, gate.first.percent) == (Verdict.NOT_RUN, 0, 100)
    assert not gate.verdict.blocks


@pytest.mark.scenario("G2")
def test_without_psi_the_gate_never_passes_but_fails_on_load(tmp_path: Path) -> None:
    clock = WaitingClock()
    for one_minute, verdict in ((0.1, Verdict.UNAVAILABLE), (3.9, Verdict.FAIL)):
        reading = read_pressure(clock, tmp_path, lambda busy=one_minute: load(busy), cores=4)
        gate = wait_for_pressure(20, 3, lambda found=reading: found, clock, clock, lambda *_: None)
        assert gate.verdict is verdict
        assert "no PSI" in gate.why


def test_an_interrupted_wait_ends_and_does_not_pass(tmp_path: Path) -> None:
    clock = WaitingClock()
    clock.stop_at = 4
    gate = wait_for_pressure(20, 60, readings(tmp_path, 90).__next__, clock, clock, lambda *_: None)
    assert (gate.verdict, gate.waited_s) == (Verdict.FAIL, 4)
    assert gate.why.endswith("interrupted")


def test_a_real_stop_event_ends_a_real_wait(tmp_path: Path) -> None:
    stop = threading.Event()
    gate = wait_for_pressure(
        20,
        300,
        readings(tmp_path, 90).__next__,
        SystemClock(),
        stop,
        lambda *_: threading.Timer(0.05, stop.set).start(),
    )
    assert gate.verdict is Verdict.FAIL
    assert gate.waited_s < 300
