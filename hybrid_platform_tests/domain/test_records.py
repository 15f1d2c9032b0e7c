"""Evidence records are equal after a round trip through JSON."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.records import (
    CpuPressure,
    DatabaseReport,
    HealthcheckItem,
    HealthcheckRecord,
    LoadAverage,
    PressureAverages,
    PressureGate,
    PressureSource,
    ResourcePressure,
    SystemState,
    Verdict,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
ints = st.integers(-(2**63), 2**63 - 1)
averages = st.builds(PressureAverages, finite, finite, finite, ints)
resources = st.none() | st.builds(ResourcePressure, averages, st.none() | averages)
pressures = st.builds(
    CpuPressure, ints, st.sampled_from(PressureSource), finite, cpu=resources, memory=resources, io=resources
)
verdicts = st.sampled_from(Verdict)
items = st.builds(HealthcheckItem, st.text(), verdicts, st.text(), st.booleans())
maybe_int, maybe_text = st.none() | ints, st.none() | st.text()
records = st.one_of(
    pressures,
    st.builds(PressureGate, finite, pressures, pressures, finite, verdicts, st.text()),
    st.builds(HealthcheckRecord, ints, st.lists(items).map(tuple), verdicts, st.text(), finite),
    st.builds(DatabaseReport, st.booleans(), st.booleans(), maybe_text, maybe_int, st.text()),
    st.builds(
        SystemState,
        ts=ints,
        hostname=st.text(),
        kernel=st.text(),
        python=st.text(),
        cores=ints,
        load=st.none() | st.builds(LoadAverage, finite, finite, finite),
        uptime_s=st.none() | finite,
        boot_id=maybe_text,
        memory_total_bytes=maybe_int,
        memory_available_bytes=maybe_int,
        disk_free_bytes=maybe_int,
        package_version=st.text(),
        git_commit=maybe_text,
        git_dirty=st.none() | st.booleans(),
    ),
)


@given(records)
def test_records_survive_json(record: msgspec.Struct) -> None:
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_records_are_frozen() -> None:
    report = DatabaseReport(exists=True, readable=True, schema="0001", ticks=61)
    with pytest.raises(AttributeError):
        report.ticks = 62  # type: ignore[misc]


@pytest.mark.scenario("G2")
def test_percent_is_some_avg10_or_the_load() -> None:
    psi = CpuPressure(0, PressureSource.PSI, 50.0, cpu=ResourcePressure(PressureAverages(2.5, 3.5, 4.5, 99)))
    assert psi.percent == 2.5
    assert CpuPressure(0, PressureSource.UNAVAILABLE, 50.0).percent == 50.0


def test_only_a_fail_blocks() -> None:
    assert [verdict for verdict in Verdict if verdict.blocks] == [Verdict.FAIL]


def test_item_that_is_not_required_reads_noted():
    port = HealthcheckItem("port", Verdict.FAIL, "8501 closed", required=False)
    assert (port.judged, HealthcheckItem("db", Verdict.FAIL, "gone").judged) == ("NOTED", "FAIL")
    assert HealthcheckItem("port", Verdict.PASS, "8501 open", required=False).judged == "PASS"
