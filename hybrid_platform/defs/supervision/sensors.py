"""The sensor `shadow_run_supervisor`: looks at the supervised run, asks `policy`, and does what it says.

It only inspects (Dagster gives a sensor 60 s): what takes time is a job. How to run it for a month:
docs/supervision.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
import msgspec

from hybrid_platform.defs.checks.jobs import preflight_job
from hybrid_platform.defs.session.jobs import shadow_run_job
from hybrid_platform.defs.shared.names import (
    ERROR_TAG,
    EXIT_CODE_TAG,
    EXIT_REASON_TAG,
    PREFLIGHT_JOB,
    PROCESS_TAG,
    SESSION_TAG,
    SHADOW,
)
from hybrid_platform.defs.shared.runs import RunProcess
from hybrid_platform.defs.supervision.assets import ASSET, NAME
from hybrid_platform.domain.clocks import NS_PER_S, Clock, SystemClock, iso_utc
from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.observability.liveness import LivenessRecord, read_liveness
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.outcome import StopReason
from hybrid_platform.supervision.desired import Wanted, read_wanted
from hybrid_platform.supervision.observe import last_preflight, lease_holder, standing_halt
from hybrid_platform.supervision.observed import RunSeen, Seen, life_of
from hybrid_platform.supervision.reconcile import STOPPED_BY_SIGNAL, Check, Launch, Reap, decide
from hybrid_platform.supervision.state import Memory, Phase, cursor_of, read_memory

SUPERVISOR_TAG = "hybrid_platform/supervisor"
GENERATION_TAG = "hybrid_platform/generation"
SERVER_TAG = ".dagster/hybrid_platform_code_server"
"""Which code server asked for the run: a signal that ended it together with its server was nobody's wish to stop."""
REAPED_TAG = "hybrid_platform/reaped"
LOOK_SECONDS = 15
RUNS_LOOKED_AT = 50

Validate = Callable[[str, Mapping[str, Any]], None]
"""Raises ConfigError for a run config that a job would not take."""


@dg.sensor(
    name=NAME,
    jobs=[shadow_run_job, preflight_job],
    minimum_interval_seconds=LOOK_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Keeps exactly one session of the wanted run (run_configs/supervised.yaml, or the file that "
    "HYBRID_PLATFORM_SUPERVISED_RUN names) alive: starts it, restarts it by its exit code with backoff and a "
    "budget, rolls it, and gives up runs whose process is gone. The cursor is its memory.",
)
def shadow_run_supervisor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Look once."""
    repository = context.repository_def

    def validate(job: str, config: Mapping[str, Any]) -> None:
        if repository is None:
            return
        try:
            dg.validate_run_config(repository.get_job(job), dict(config))
        except dg.DagsterInvalidConfigError as error:
            raise ConfigError(
                f"the run config of {job}: {'; '.join(fault.message for fault in error.errors)}"
            ) from None

    return supervise(
        context.instance,
        context.cursor,
        context.last_sensor_start_time,
        clock=SystemClock(),
        environ=os.environ,
        validate=validate,
    )


def supervise(
    instance: dg.DagsterInstance,
    cursor: str | None,
    switched_on: float | None,
    *,
    clock: Clock,
    environ: Mapping[str, str],
    validate: Validate = lambda job, config: None,
    server: ProcessIdentity | None = None,
) -> dg.SensorResult:
    """Look, decide and act once; ``server``: the process that this is, unless told otherwise."""
    memory, here = read_memory(cursor), _server_id(server or this_process())
    try:
        wanted = read_wanted(environ)
        data_dir = DataDir(wanted.settings.data_dir)
        seen = _look(instance, wanted, data_dir, switched_on, clock, here)
        decided = decide(memory, seen, wanted.settings.supervision)
        requests = _requests(decided.action, wanted, here, validate)
    except ConfigError as error:
        faults = f"nothing starts until this is corrected: {error}"
        blocked = msgspec.structs.replace(memory, phase=Phase.CONFIG, why=faults, next_at=None)
        return _told(memory, blocked, [], clock, None)
    if isinstance(decided.action, Reap):
        _reap(instance, decided.action)
    return _told(memory, decided.memory, requests, clock, wanted)


def _look(
    instance: dg.DagsterInstance,
    wanted: Wanted,
    data_dir: DataDir,
    switched_on: float | None,
    clock: Clock,
    here: str,
) -> Seen:
    now_ns, sign = clock.wall_ns(), read_liveness(data_dir)

    def newest(job: str) -> RunSeen | None:
        ours = dg.RunsFilter(job_name=job, tags={SUPERVISOR_TAG: NAME})
        # One that a person re-executed bears the tags of the first, and is the person's own.
        records = instance.get_run_records(ours, limit=RUNS_LOOKED_AT)
        found = next((record for record in records if record.dagster_run.parent_run_id is None), None)
        return None if found is None else _run_seen(instance, found, wanted, sign, now_ns, here)

    return Seen(
        now_ns=now_ns,
        switched_on=switched_on,
        wanted=wanted.digest,
        rolls=wanted.rolls,
        run=newest(SHADOW),
        check_run=newest(PREFLIGHT_JOB),
        check=last_preflight(data_dir, now_ns),
        halted=standing_halt(data_dir, clock),
        holder=lease_holder(wanted.settings, data_dir, clock),
    )


def _run_seen(
    instance: dg.DagsterInstance,
    record: dg.RunRecord,
    wanted: Wanted,
    sign: LivenessRecord | None,
    now_ns: int,
    here: str,
) -> RunSeen:
    run, tags = record.dagster_run, record.dagster_run.tags
    # Of a run that goes on, the time of its last change: it may have been queued before.
    changed_ns = int(record.update_timestamp.timestamp() * NS_PER_S)
    started_ns = int((record.start_time or record.create_timestamp.timestamp()) * NS_PER_S)
    generation = int(tags.get(GENERATION_TAG, "0"))
    if not run.is_finished:
        life, detail = life_of(
            queued=run.status is dg.DagsterRunStatus.QUEUED,
            owner=_owner_of(run),
            sign=sign,
            launched_ns=changed_ns,
            now_ns=now_ns,
            settings=wanted.settings.supervision,
        )
        session = f"session {tags[SESSION_TAG]}, " if SESSION_TAG in tags else ""
        return RunSeen(run.run_id, generation, changed_ns, life, session + detail, started_ns)
    code, reason = _end_of(run)
    return RunSeen(
        run.run_id,
        generation,
        changed_ns,
        None,
        started_ns=started_ns,
        ended_ns=int((record.end_time or record.update_timestamp.timestamp()) * NS_PER_S),
        exit_code=code,
        exit_reason=reason,
        error=tags.get(ERROR_TAG, ""),
        by_person=_is_by_person(instance, run, reason, here),
    )


def _owner_of(run: dg.DagsterRun) -> ProcessIdentity | None:
    """Return the process that runs the steps, as it said itself."""
    try:
        found = msgspec.json.decode(run.tags.get(PROCESS_TAG, "").encode(), type=RunProcess)
    except msgspec.DecodeError:
        return None
    return found.owner if found.run_id == run.run_id else None


def _end_of(run: dg.DagsterRun) -> tuple[int, str]:
    """Return exit code and reason of a run that ended, as its tags say; they may be of a step before it broke off."""
    if REAPED_TAG in run.tags:
        return int(ExitCode.CRASH), "REAPED"
    code, reason = int(run.tags.get(EXIT_CODE_TAG, "0")), run.tags.get(EXIT_REASON_TAG, "")
    if run.status is dg.DagsterRunStatus.FAILURE and code == ExitCode.COMPLETE:
        return int(ExitCode.CRASH), "CRASH"
    if run.status is dg.DagsterRunStatus.CANCELED and code == ExitCode.COMPLETE:
        return code, StopReason.TERMINATED
    return code, reason


def _is_by_person(instance: dg.DagsterInstance, run: dg.DagsterRun, reason: str, here: str) -> bool:
    """Return whether somebody wanted the run to end: in the UI, or by a signal to this process alone.

    A host or a code server that goes down sends its runs the same signal; what looks now is another process then.
    """
    asked = dg.DagsterEventType.PIPELINE_CANCELING
    if instance.get_records_for_run(run.run_id, of_type=asked, limit=1).records:
        return True
    return reason in STOPPED_BY_SIGNAL and run.tags.get(SERVER_TAG) == here


def _requests(action: Any, wanted: Wanted, here: str, validate: Validate) -> list[dg.RunRequest]:
    if isinstance(action, Launch):
        job, number = SHADOW, action.generation
    elif isinstance(action, Check):
        job, number = PREFLIGHT_JOB, action.number
    else:
        return []
    config = {"resources": {"session": {"config": dict(wanted.stated)}}}
    validate(job, config)
    tags = {SUPERVISOR_TAG: NAME, GENERATION_TAG: str(number), SERVER_TAG: here}
    return [dg.RunRequest(run_key=f"{job}-{number}", job_name=job, run_config=config, tags=tags)]


def _reap(instance: dg.DagsterInstance, reap: Reap) -> None:
    run = instance.get_run_by_id(reap.run_id)
    if run is None or run.is_finished:
        return
    instance.add_run_tags(reap.run_id, {REAPED_TAG: reap.why, EXIT_CODE_TAG: str(int(ExitCode.CRASH))})
    instance.report_run_failed(run, f"Given up by {NAME}: {reap.why}.")


def _server_id(server: ProcessIdentity) -> str:
    return f"{server.host}/{server.boot_id}/{server.pid}/{server.pid_started}"


def _told(
    before: Memory, after: Memory, requests: list[dg.RunRequest], clock: Clock, wanted: Wanted | None
) -> dg.SensorResult:
    """Return the result: what to launch or why not, the cursor, and the asset's news where there is any."""
    told = f"{after.phase}: {after.why}" + (f", next at {after.next_at}" if after.next_at else "")
    news = (before.phase, before.generation, before.blocked) != (after.phase, after.generation, after.blocked)
    event = dg.AssetMaterialization(
        asset_key=ASSET,
        description=told,
        metadata={
            "phase": after.phase.value,
            "why": after.why,
            "next": after.next_at or "when something changes",
            "generation": after.generation,
            "failures_in_a_row": after.failures,
            "restarts_in_budget": len(after.restarts_ns),
            "looked_at": iso_utc(clock.wall_ns()),
            **({"wanted_run": dg.MetadataValue.path(str(wanted.path))} if wanted else {}),
        },
    )
    return dg.SensorResult(
        run_requests=requests or None,
        skip_reason=None if requests else dg.SkipReason(told),
        cursor=cursor_of(after),
        asset_events=[event] if news or not before.why else [],
    )
