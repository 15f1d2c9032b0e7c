"""Notification sensors: real runs on a temporary instance, and a real receiver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from hybrid_platform.defs.notifications.sensors import NotDelivered, notify_failure, notify_halt, notify_recovery
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.observability.notifications import channels
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import NAME, CommandFile
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.defs.conftest import Job, Launcher
from hybrid_platform_tests.observability.receiver import Receiver, receiver
from hybrid_platform_tests.support import synthetic_feed

NOTIFY = {"notify": {"webhook_env": "HOOK", "ui_url": "http://127.0.0.1:3000/", "attempts": 1}}
SHORT = {"isolation": "thread", **synthetic_feed("max", ticks=20), **NOTIFY}
STEP = ["preflight_healthcheck"]
"""A selection of the same job, because the whole job takes longer."""
REFUSED = {"gates": {"cpu_pressure_limit": 0}}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launcher, Job]]:
    """Return a run that its preflight refused, and the launcher for more runs on the same data."""
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = Launcher(instance, tmp_path_factory.mktemp("refused"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOOK", "https://hooks.example/x")
            job = launcher(SHORT, REFUSED)
        yield launcher, job


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(channels, "FIRST_PAUSE_S", 0.01)
    with receiver() as kept:
        monkeypatch.setenv("HOOK", kept.address)
        yield kept


def ended(job: Job, instance: dg.DagsterInstance, sensor: str) -> Any:
    """Return the context with which Dagster calls a sensor for a finished run."""
    kind = dg.DagsterEventType.RUN_SUCCESS if job.result.success else dg.DagsterEventType.RUN_FAILURE
    (record,) = instance.get_records_for_run(job.result.run_id, of_type=kind).records
    event = record.event_log_entry.dagster_event
    assert event is not None
    return dg.build_run_status_sensor_context(sensor, event, instance, job.run)


def tell_of_failure(job: Job, instance: dg.DagsterInstance) -> None:
    notify_failure(ended(job, instance, "notify_failure").for_run_failure())


@pytest.mark.scenario("G2")
def test_a_refusal_is_notified_as_overload_then_recovery(refused: tuple[Launcher, Job], listening: Receiver):
    launch, job = refused
    tell_of_failure(job, launch.instance)
    (overload,) = listening.bodies
    assert (overload["event"], overload["exit_code"]) == ("OVERLOAD", 13)
    assert overload["reasons"][0].startswith("CPU pressure: ")
    assert (overload["session_id"], overload["run_id"]) == (job.session_id, job.result.run_id)
    assert overload["link"] == f"http://127.0.0.1:3000/runs/{job.result.run_id}"

    good = launch(SHORT, only=STEP)
    notify_recovery(ended(good, launch.instance, "notify_recovery"))
    assert [body["event"] for body in listening.bodies] == ["OVERLOAD", "RECOVERY"]
    assert job.session_id in listening.bodies[1]["reasons"][0]
    assert listening.bodies[1]["session_id"] == good.session_id

    again = launch(SHORT, only=STEP)
    notify_recovery(ended(again, launch.instance, "notify_recovery"))
    assert len(listening.bodies) == 2, "a success after a success is not reported"


def test_a_run_with_wrong_settings_still_has_receivers(refused: tuple[Launcher, Job], listening: Receiver):
    launch, _ = refused
    job = launch(SHORT, {"strategy": {"name": "no_such"}, "heartbeat": {"interval_seconds": -1}})
    tell_of_failure(job, launch.instance)
    (body,) = listening.bodies
    assert (body["event"], body["exit_code"]) == ("FAILURE", 12)
    assert "heartbeat.interval_seconds" in body["reasons"][0]


def test_a_failed_delivery_fails_the_tick(refused: tuple[Launcher, Job], listening: Receiver):
    """The error does not show the receiver's address."""
    launch, job = refused
    listening.status = lambda _: 500
    with pytest.raises(NotDelivered, match=r"^webhook: HTTP 500$"):
        tell_of_failure(job, launch.instance)


def test_a_halt_is_notified_once_and_retried_until_delivered(refused: tuple[Launcher, Job], listening: Receiver):
    launch, _ = refused
    file = CommandFile(DataDir(launch.data_dir), SystemClock())
    file.append(Command(CommandKind.RESUME, "ann", "long ago"))
    file.append(Command(CommandKind.HALT, "ann", "it stands"))

    def look(cursor: str | None) -> tuple[str | None, str]:
        context = dg.build_sensor_context(instance=launch.instance, cursor=cursor)
        said = notify_halt(context)
        assert isinstance(said, dg.SkipReason)
        return context.cursor, said.skip_message or ""

    cursor, _ = look(None)
    assert [body["title"] for body in listening.bodies] == ["trading HALTED by ann"], "only the order that stands"
    cursor, said = look(cursor)
    assert said == "no new command"
    file.append(Command(CommandKind.RESUME, "bob", "all is well"))
    file.append(Command(CommandKind.HALT, "risk engine", "drawdown", automatic=True), "session-1")
    listening.status = lambda _: 500
    cursor, said = look(cursor)
    assert "tried again at the next tick" in said and "500" in said
    listening.status = lambda _: 200
    listening.bodies.clear()
    cursor, said = look(cursor)
    assert [body["event"] for body in listening.bodies] == ["RECOVERY", "HALT"]
    assert listening.bodies[1]["session_id"] == "session-1"
    assert look(cursor)[1] == "no new command"


def test_an_unreadable_command_file_is_notified_once(refused: tuple[Launcher, Job], listening: Receiver):
    """The position in it is kept."""
    launch, _ = refused
    file = CommandFile(DataDir(launch.data_dir), SystemClock())
    for why in ("first", "second", "third"):
        file.append(Command(CommandKind.HALT, "ann", why))

    def look(cursor: str | None) -> str | None:
        context = dg.build_sensor_context(instance=launch.instance, cursor=cursor)
        notify_halt(context)
        return context.cursor

    cursor = look(None)
    path, aside = launch.data_dir / NAME, launch.data_dir / "aside"
    path.rename(aside)
    path.mkdir()
    listening.bodies.clear()
    cursor = look(look(cursor))
    (body,) = listening.bodies
    assert "could not be read" in body["reasons"][0]
    path.rmdir()
    aside.rename(path)
    listening.bodies.clear()
    cursor = look(cursor)
    assert listening.bodies == [], "earlier commands are not repeated"
    file.append(Command(CommandKind.HALT, "ann", "fourth"))
    look(cursor)
    assert [body["reasons"][0] for body in listening.bodies] == ["fourth"]


def test_dagster_itself_calls_the_sensor_for_a_failed_run(refused: tuple[Launcher, Job], listening: Receiver):
    launch, _ = refused
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("notify_failure")
    context = dg.build_sensor_context(instance=launch.instance, repository_def=repository)
    cursor = sensor.evaluate_tick(context).cursor
    job = launch(SHORT, REFUSED)
    context = dg.build_sensor_context(
        instance=launch.instance, repository_def=repository, cursor=cursor, sensor_name="notify_failure"
    )
    (reaction,) = sensor.evaluate_tick(context).dagster_run_reactions
    assert reaction.error is None and reaction.dagster_run is not None
    assert reaction.dagster_run.run_id == job.result.run_id
    assert [body["event"] for body in listening.bodies] == ["OVERLOAD"]


def test_every_sensor_starts_switched_off():
    for sensor in (notify_failure, notify_recovery, notify_halt):
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
        assert sensor.description
