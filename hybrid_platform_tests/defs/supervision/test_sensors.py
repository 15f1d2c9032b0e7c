"""The supervisor from its sensor: real run records, a real process, and a clock that the test sets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest
import yaml
from dagster._core.events import DagsterEvent
from dagster._core.test_utils import create_run_for_test

from hybrid_platform.defs.checks.sensors import postflight_on_failure
from hybrid_platform.defs.shared.names import ERROR_TAG, EXIT_CODE_TAG, EXIT_REASON_TAG, PROCESS_TAG, SESSION_TAG
from hybrid_platform.defs.shared.runs import RunProcess
from hybrid_platform.defs.supervision.assets import NAME
from hybrid_platform.defs.supervision.sensors import SERVER_TAG, shadow_run_supervisor, supervise
from hybrid_platform.domain.clocks import NS_PER_S, iso_utc
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.maintenance.lease import Lease
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import CommandFile
from hybrid_platform.settings.loading import SUPERVISED_RUN
from hybrid_platform.supervision.state import Phase, read_cursor
from hybrid_platform.testing import TestClock
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.support import run_config

SYNTHETIC = {"seconds": None, "feed": {"synthetic": {"ticks_per_second": 2}}}


class Daemon:
    """Evaluates the sensor as Dagster's daemon does, and creates the requested runs without executing them."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance = instance
        self.data_dir = DataDir(folder / "data")
        self.file = folder / "desired.yaml"
        self.clock = TestClock(wall_ns=time.time_ns())
        self.cursor: str | None = None
        self.switched_on = 1.0
        self.server = this_process()
        self.keys: set[str] = set()
        self.runs: list[dg.DagsterRun] = []
        self.text: list[str] = []
        self.want(SYNTHETIC)

    def want(self, settings: dict[str, Any]) -> None:
        self.file.write_text(yaml.safe_dump(run_config({"data_dir": str(self.data_dir.root), **settings})))

    def look(self, after_s: float = 15.0) -> str:
        """Let time pass, evaluate once, and return the name of the launched job, or an empty string."""
        self.clock.advance(after_s)
        environ = {SUPERVISED_RUN: str(self.file)}
        result = supervise(
            self.instance, self.cursor, self.switched_on, clock=self.clock, environ=environ, server=self.server
        )
        self.cursor = result.cursor
        self.text += [event.description or "" for event in result.asset_events]
        for request in result.run_requests or ():
            assert request.run_key is not None and request.run_key not in self.keys, "Dagster would not launch it"
            self.keys.add(request.run_key)
            run = create_run_for_test(
                self.instance,
                job_name=str(request.job_name),
                run_config=dict(request.run_config or {}),
                tags=dict(request.tags),
                status=dg.DagsterRunStatus.STARTED,
            )
            self.runs.append(run)
            if request.job_name == "preflight":
                self._request_preflight(run)
            return str(request.job_name)
        assert result.skip_reason is not None and str(self.state.phase) in str(result.skip_reason.skip_message)
        return ""

    def _request_preflight(self, run: dg.DagsterRun) -> None:
        evidence = {"verdict": "PASS", "reasons": [], "at": iso_utc(self.clock.wall_ns())}
        name = f"evidence/checks/{self.clock.wall_ns():020d}-preflight.json"
        self.data_dir.write_atomic(name, json.dumps(evidence).encode())
        self.succeed(run, 0)

    def look_until(self, phase: Phase, most: int = 200) -> None:
        for _ in range(most):
            self.look()
            if self.state.phase is phase:
                return
        raise AssertionError(f"expected {phase}, got {self.state}")

    def start(self, owner: ProcessIdentity | None = None) -> dg.DagsterRun:
        """Evaluate until a session is launched, and record its process."""
        for _ in range(200):
            if self.look() == "shadow_run":
                break
        else:
            raise AssertionError(f"nothing was launched: {self.state}")
        run = self.runs[-1]
        self.show(run, owner or this_process())
        self.look()
        assert self.state.phase is Phase.RUNNING
        return run

    def show(self, run: dg.DagsterRun, owner: ProcessIdentity) -> None:
        """Record the process of the run."""
        process = msgspec.json.encode(RunProcess(run.run_id, owner)).decode()
        self.instance.add_run_tags(run.run_id, {PROCESS_TAG: process, SESSION_TAG: "s"})

    def tag(self, run: dg.DagsterRun, code: int, reason: str = "") -> None:
        self.instance.add_run_tags(run.run_id, {EXIT_CODE_TAG: str(code), EXIT_REASON_TAG: reason})

    def succeed(self, run: dg.DagsterRun, code: int, reason: str = "") -> None:
        self.tag(run, code, reason)
        success = DagsterEvent(dg.DagsterEventType.PIPELINE_SUCCESS.value, run.job_name)
        self.instance.report_dagster_event(success, run.run_id)

    def fail(self, run: dg.DagsterRun, code: int, reason: str = "") -> None:
        self.tag(run, code, reason)
        self.instance.report_run_failed(run)

    @property
    def state(self) -> Any:
        return read_cursor(self.cursor)

    def status(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found.status


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(instance, tmp_path)


def test_the_whole_life(daemon: Daemon):
    """Start, roll, crash, backoff, reap, halt, resume, config error, correction, and a person's stop."""
    assert daemon.look() == "preflight"
    assert daemon.look() == "shadow_run"
    assert daemon.runs[-1].run_config["resources"]["session"]["config"]["seconds"] == 3600
    daemon.look()
    assert daemon.state.phase is Phase.STARTING, "no process has shown itself"

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        daemon.show(daemon.runs[-1], owner_of(process))
        for _ in range(3):
            daemon.look()
            assert daemon.state.phase is Phase.RUNNING
        process.kill()
        daemon.look_until(Phase.REAPED, 100)
        process.wait()
    killed = daemon.runs[-1]
    assert daemon.status(killed) is dg.DagsterRunStatus.FAILURE
    daemon.look(0)
    assert daemon.state.phase is Phase.BACKOFF
    assert "exit code 1 (REAPED); failure 1 in a row" in daemon.state.why

    crashed = daemon.start()
    daemon.fail(crashed, 0)
    daemon.look(0)
    assert daemon.state.failures == 2 and "exit code 1 (CRASH)" in daemon.state.why, "its tag was of preflight"

    rolled = daemon.start()
    daemon.succeed(rolled, 0, "TIME_LIMIT")
    daemon.look(0)
    assert daemon.state.failures == 0
    daemon.look_until(Phase.STARTING, 3)

    halted = daemon.runs[-1]
    file = CommandFile(daemon.data_dir, daemon.clock)
    file.append(Command(CommandKind.HALT, "alice", "prices are wrong"))
    daemon.fail(halted, 10, "NetworkError")
    for _ in range(5):
        assert not daemon.look(60)
        assert daemon.state.phase is Phase.HALTED and "alice: prices are wrong" in daemon.state.why
    file.append(Command(CommandKind.RESUME, "alice", "they are right again"))

    wrong = daemon.start()
    daemon.fail(wrong, 12, "ConfigError")
    for _ in range(5):
        assert not daemon.look(3600)
        assert daemon.state.phase is Phase.CONFIG
    daemon.want({**SYNTHETIC, "strategy": {"params": {"every": 5}}})

    stopped = daemon.start()
    daemon.instance.report_run_canceling(stopped)
    daemon.succeed(stopped, 0, "TERMINATED")
    for _ in range(5):
        assert not daemon.look(3600)
        assert daemon.state.phase is Phase.STOPPED
    daemon.switched_on += 1
    daemon.start()
    sessions = [run for run in daemon.runs if run.job_name == "shadow_run"]
    assert len(sessions) == 7
    assert [json.loads(daemon.cursor or "")["generation"]] == [7]
    shown = [line.partition(":")[0] for line in daemon.text]
    assert {"CHECKING", "STARTING", "RUNNING", "REAPED", "BACKOFF", "HALTED", "CONFIG", "STOPPED"} <= set(shown)


def owner_of(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return msgspec.structs.replace(this_process(), pid=process.pid, pid_started=int(fields[19]))


ELSEWHERE = ProcessIdentity(pid=7, host="the-other-host", boot_id="another", pid_started=1)


def sign(daemon: Daemon, owner: ProcessIdentity, phase: str = "RUNNING", unsupervised_s: float = 0.0) -> None:
    """Write a liveness record of the session with the present time."""
    at = daemon.clock.wall_ns()
    said = {
        "session_id": "s", "run_id": "r", "owner": msgspec.to_builtins(owner), "phase": phase, "n": 1,
        "at": iso_utc(at), "at_ns": at, "unsupervised_ms": int(unsupervised_s * 1000),
    }  # fmt: skip
    daemon.data_dir.write_atomic("control/heartbeat.json", json.dumps(said).encode())


def test_a_run_on_another_host_lives_as_long_as_it_beats(daemon: Daemon):
    while daemon.look() != "shadow_run":
        pass
    run = daemon.runs[-1]
    daemon.show(run, ELSEWHERE)
    for _ in range(5):
        sign(daemon, ELSEWHERE)
        daemon.look(50)
        assert daemon.state.phase is Phase.RUNNING
    daemon.look(50)
    assert daemon.state.phase is Phase.REAPED
    assert daemon.status(run) is dg.DagsterRunStatus.FAILURE


def test_a_silent_process_is_shown_and_left_alone(daemon: Daemon):
    run = daemon.start()
    sign(daemon, this_process())
    daemon.look(50)
    assert daemon.state.phase is Phase.RUNNING
    for _ in range(5):
        daemon.look(60)
        assert daemon.state.phase is Phase.STUCK and "last liveness record" in daemon.state.why
    sign(daemon, this_process(), unsupervised_s=3600)
    daemon.look(0)
    assert daemon.state.phase is Phase.STUCK, "it beats, but is not supervised"
    sign(daemon, this_process(), phase="CLOSING")
    daemon.look(250)
    assert daemon.state.phase is Phase.RUNNING, "the report may take its time"
    daemon.look(100)
    assert daemon.state.phase is Phase.STUCK, "but not forever"
    assert daemon.status(run) is dg.DagsterRunStatus.STARTED


def test_a_run_without_a_process_is_reaped_after_its_timeout(daemon: Daemon):
    while daemon.look() != "shadow_run":
        pass
    daemon.look(250)
    assert daemon.state.phase is Phase.STARTING
    daemon.look(50)
    assert daemon.state.phase is Phase.REAPED


def test_a_dead_run_that_was_canceled_is_reaped_and_stays_ended(daemon: Daemon):
    """Dagster's terminate cannot reach the process any more, so the run would stay CANCELING forever."""
    run = daemon.start()
    daemon.instance.report_run_canceling(run)
    daemon.show(run, msgspec.structs.replace(this_process(), pid_started=1))
    daemon.look()
    assert daemon.state.phase is Phase.REAPED
    daemon.look()
    assert daemon.state.phase is Phase.STOPPED


def test_a_re_executed_run_is_not_the_supervisors(daemon: Daemon):
    """The re-executed run inherits every tag of the first one: number, process and end."""
    first = daemon.start()
    daemon.fail(first, 10, "NetworkError")
    tags = daemon.instance.get_run_by_id(first.run_id).tags
    again = create_run_for_test(
        daemon.instance, job_name="shadow_run", tags=dict(tags), status=dg.DagsterRunStatus.STARTED,
        parent_run_id=first.run_id, root_run_id=first.run_id,
    )  # fmt: skip
    daemon.look(600)
    assert daemon.state.phase is Phase.BACKOFF, "as if it were not there; the lease would make it wait"
    daemon.start()
    assert daemon.status(again) is dg.DagsterRunStatus.STARTED


def test_a_signal_counts_as_a_stop_only_if_the_server_lives(daemon: Daemon):
    """A signal that also ended the code server was a shutdown of the host."""
    alone = daemon.start()
    assert alone.tags[SERVER_TAG].endswith(f"/{this_process().pid}/{this_process().pid_started}")
    daemon.succeed(alone, 0, "TERMINATED")
    daemon.look_until(Phase.STOPPED, 1)
    daemon.switched_on += 1
    with_server = daemon.start()
    daemon.succeed(with_server, 0, "TERMINATED")
    daemon.server = msgspec.structs.replace(daemon.server, pid_started=0)
    daemon.start()


def test_a_run_refused_by_the_lease_is_started_again(daemon: Daemon):
    """Exit code 12 blocks the supervisor, except where another session held the lease."""
    run = daemon.start()
    daemon.instance.add_run_tags(run.run_id, {ERROR_TAG: "LeaseHeld"})
    daemon.fail(run, 12, "another session holds the lease")
    daemon.look()
    assert daemon.state.blocked is None
    run = daemon.start()
    daemon.fail(run, 12, "another session holds the lease")
    daemon.look_until(Phase.CONFIG)


def test_a_session_that_a_person_started_is_waited_for(daemon: Daemon):
    database = daemon.data_dir.create_file("bot.db")
    with Lease(database.with_name("bot.db.lease"), "by-hand"):
        for _ in range(10):
            assert not daemon.look()
            assert daemon.state.phase is Phase.WAITING and "session by-hand" in daemon.state.why
    daemon.start()


def test_an_unreadable_run_config_blocks_until_corrected(daemon: Daemon):
    good = daemon.file.read_text()
    for bad in ("feed: [", "nonsense: 1", "seconds: -1"):
        daemon.file.write_text(bad)
        assert not daemon.look()
        assert daemon.state.phase is Phase.CONFIG and daemon.state.why
    daemon.file.unlink()
    assert not daemon.look()
    assert str(daemon.file) in daemon.state.why
    daemon.file.write_text(good)
    daemon.start()


@pytest.mark.parametrize(
    ("settings", "seconds", "rolls"),
    [
        ({}, 3600, True),
        ({"supervision": {"max_session_seconds": 60}}, 60, True),
        ({"seconds": 20}, 20, False),
        ({"seconds": None, "feed": {"synthetic": {"ticks": 5}}}, None, False),
        ({"seconds": None, "feed": {"replay": {"session": "x"}}}, None, False),
        ({"feed": {"websocket": {"sources": [{"venue": "binance", "symbols": ["BTCUSDT"]}]}}}, 3600, True),
    ],
)
def test_only_a_live_feed_without_an_end_of_its_own_is_cut(
    daemon: Daemon, settings: dict[str, Any], seconds: float | None, rolls: bool
):
    daemon.want(settings)
    run = daemon.start()
    assert run.run_config["resources"]["session"]["config"].get("seconds") == seconds
    assert ("rolls" in daemon.state.why) is rolls
    daemon.succeed(run, 0, "TIME_LIMIT")
    daemon.look(0)
    assert (daemon.state.phase is Phase.ENDED) is not rolls


def test_the_sensor_requests_a_run_that_the_job_accepts(daemon: Daemon, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SUPERVISED_RUN, str(daemon.file))
    repository = defs.get_repository_def()

    def evaluate() -> dg.SensorResult:
        context = dg.build_sensor_context(daemon.instance, repository_def=repository)
        result = shadow_run_supervisor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    (request,) = evaluate().run_requests or ()
    assert (request.job_name, request.run_key) == ("preflight", "preflight-1")
    daemon.want({"mode": "shadow"})
    refused = evaluate()
    assert not refused.run_requests and "the run config of preflight" in str(refused.skip_reason)


def test_a_failed_run_requests_a_postflight_with_its_settings(daemon: Daemon):
    run = create_run_for_test(
        daemon.instance, job_name="shadow_run", run_config=run_config({"data_dir": "elsewhere"}),
        status=dg.DagsterRunStatus.STARTED,
    )  # fmt: skip
    event = daemon.instance.report_run_failed(run)
    context = dg.build_run_status_sensor_context(
        postflight_on_failure.name, event, daemon.instance, run
    ).for_run_failure()
    request = postflight_on_failure(context)
    assert isinstance(request, dg.RunRequest)
    assert request.run_config == run_config({"data_dir": "elsewhere"})
    assert request.run_key == run.run_id
    assert [target.job_name for target in postflight_on_failure.targets] == ["postflight"]


def test_time_comes_from_the_clock(daemon: Daemon):
    daemon.look()
    assert daemon.state.check_launched_ns == daemon.clock.wall_ns() > NS_PER_S
    assert shadow_run_supervisor.name == NAME
