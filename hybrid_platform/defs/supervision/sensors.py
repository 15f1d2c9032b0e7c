"""The sensor `shadow_run_supervisor`: observes the supervised run, reconciles, and carries out the action.

It only inspects, because Dagster gives a sensor 60 s; slow work is a job. See docs/supervision.md.
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
from hybrid_platform.supervision.desired import DesiredRun, read_desired_run
from hybrid_platform.supervision.observe import read_halt, read_last_preflight, read_lease_holder
from hybrid_platform.supervision.observed import Observation, ObservedRun, assess_liveness
from hybrid_platform.supervision.reconcile import STOPPED_BY_SIGNAL, Check, Launch, Reap, reconcile
from hybrid_platform.supervision.state import Phase, SupervisorState, read_cursor, to_cursor

SUPERVISOR_TAG = "hybrid_platform/supervisor"
GENERATION_TAG = "hybrid_platform/generation"
SERVER_TAG = ".dagster/hybrid_platform_code_server"
"""The code server that launched the run. If a signal ended both, the host went down; it was not an operator's stop."""
REAPED_TAG = "hybrid_platform/reaped"
INTERVAL_S = 15
MAX_RUNS_READ = 50

Validate = Callable[[str, Mapping[str, Any]], None]
"""Raises ConfigError for a run config that a job would refuse."""


@dg.sensor(
    name=NAME,
    jobs=[shadow_run_job, preflight_job],
    minimum_interval_seconds=INTERVAL_S,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Keeps exactly one session of the desired run (run_configs/supervised.yaml, or the file that "
    "HYBRID_PLATFORM_SUPERVISED_RUN names) alive: starts it, restarts it by its exit code with backoff and a "
    "budget, rolls it, and reaps runs whose process is gone. The cursor is its state.",
)
def shadow_run_supervisor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Evaluate once."""
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
    """Observe, reconcile, and act once; ``server`` is this process by default."""
    state, here = read_cursor(cursor), _build_server_id(server or this_process())
    try:
        desired = read_desired_run(environ)
        data_dir = DataDir(desired.settings.data_dir)
        observed = _observe(instance, desired, data_dir, switched_on, clock, here)
        decided = reconcile(state, observed, desired.settings.supervision)
        requests = _build_requests(decided.action, desired, here, validate)
    except ConfigError as error:
        faults = f"nothing starts until this is corrected: {error}"
        blocked = msgspec.structs.replace(state, phase=Phase.CONFIG, why=faults, next_at=None)
        return _build_result(state, blocked, [], clock, None)
    if isinstance(decided.action, Reap):
        _reap(instance, decided.action)
    return _build_result(state, decided.state, requests, clock, desired)


def _observe(
    instance: dg.DagsterInstance,
    desired: DesiredRun,
    data_dir: DataDir,
    switched_on: float | None,
    clock: Clock,
    here: str,
) -> Observation:
    now_ns, sign = clock.wall_ns(), read_liveness(data_dir)

    def newest(job: str) -> ObservedRun | None:
        ours = dg.RunsFilter(job_name=job, tags={SUPERVISOR_TAG: NAME})
        # A run that an operator re-executed carries the tags of the first one, but is not ours.
        records = instance.get_run_records(ours, limit=MAX_RUNS_READ)
        found = next((record for record in records if record.dagster_run.parent_run_id is None), None)
        return None if found is None else _observe_run(instance, found, desired, sign, now_ns, here)

    return Observation(
        now_ns=now_ns,
        switched_on=switched_on,
        desired=desired.digest,
        rolls=desired.rolls,
        run=newest(SHADOW),
        check_run=newest(PREFLIGHT_JOB),
        check=read_last_preflight(data_dir, now_ns),
        halted=read_halt(data_dir, clock),
        holder=read_lease_holder(desired.settings, data_dir, clock),
    )


def _observe_run(
    instance: dg.DagsterInstance,
    record: dg.RunRecord,
    desired: DesiredRun,
    sign: LivenessRecord | None,
    now_ns: int,
    here: str,
) -> ObservedRun:
    run, tags = record.dagster_run, record.dagster_run.tags
    # For a run in progress, the time of its last change, because it may have been queued before.
    changed_ns = int(record.update_timestamp.timestamp() * NS_PER_S)
    started_ns = int((record.start_time or record.create_timestamp.timestamp()) * NS_PER_S)
    generation = int(tags.get(GENERATION_TAG, "0"))
    if not run.is_finished:
        liveness, detail = assess_liveness(
            queued=run.status is dg.DagsterRunStatus.QUEUED,
            owner=_read_process(run),
            record=sign,
            launched_ns=changed_ns,
            now_ns=now_ns,
            settings=desired.settings.supervision,
        )
        session = f"session {tags[SESSION_TAG]}, " if SESSION_TAG in tags else ""
        return ObservedRun(run.run_id, generation, changed_ns, liveness, session + detail, started_ns)
    code, reason = _read_outcome(run)
    return ObservedRun(
        run.run_id,
        generation,
        changed_ns,
        None,
        started_ns=started_ns,
        ended_ns=int((record.end_time or record.update_timestamp.timestamp()) * NS_PER_S),
        exit_code=code,
        exit_reason=reason,
        error=tags.get(ERROR_TAG, ""),
        by_operator=_is_by_operator(instance, run, reason, here),
    )


def _read_process(run: dg.DagsterRun) -> ProcessIdentity | None:
    """Return the process that runs the steps, as it reported itself."""
    try:
        found = msgspec.json.decode(run.tags.get(PROCESS_TAG, "").encode(), type=RunProcess)
    except msgspec.DecodeError:
        return None
    return found.owner if found.run_id == run.run_id else None


def _read_outcome(run: dg.DagsterRun) -> tuple[int, str]:
    """Return exit code and reason of an ended run from its tags, which may be those of a step before it failed."""
    if REAPED_TAG in run.tags:
        return int(ExitCode.CRASH), "REAPED"
    code, reason = int(run.tags.get(EXIT_CODE_TAG, "0")), run.tags.get(EXIT_REASON_TAG, "")
    if run.status is dg.DagsterRunStatus.FAILURE and code == ExitCode.COMPLETE:
        return int(ExitCode.CRASH), "CRASH"
    if run.status is dg.DagsterRunStatus.CANCELED and code == ExitCode.COMPLETE:
        return code, StopReason.TERMINATED
    return code, reason


def _is_by_operator(instance: dg.DagsterInstance, run: dg.DagsterRun, reason: str, here: str) -> bool:
    """Return whether an operator ended the run, in the UI or by a signal to its process alone.

    A host or code server that shuts down sends its runs the same signal; then this evaluation is in another process.
    """
    asked = dg.DagsterEventType.PIPELINE_CANCELING
    if instance.get_records_for_run(run.run_id, of_type=asked, limit=1).records:
        return True
    return reason in STOPPED_BY_SIGNAL and run.tags.get(SERVER_TAG) == here


def _build_requests(action: Any, desired: DesiredRun, here: str, validate: Validate) -> list[dg.RunRequest]:
    if isinstance(action, Launch):
        job, number = SHADOW, action.generation
    elif isinstance(action, Check):
        job, number = PREFLIGHT_JOB, action.number
    else:
        return []
    config = {"resources": {"session": {"config": dict(desired.stated)}}}
    validate(job, config)
    tags = {SUPERVISOR_TAG: NAME, GENERATION_TAG: str(number), SERVER_TAG: here}
    return [dg.RunRequest(run_key=f"{job}-{number}", job_name=job, run_config=config, tags=tags)]


def _reap(instance: dg.DagsterInstance, reap: Reap) -> None:
    run = instance.get_run_by_id(reap.run_id)
    if run is None or run.is_finished:
        return
    instance.add_run_tags(reap.run_id, {REAPED_TAG: reap.why, EXIT_CODE_TAG: str(int(ExitCode.CRASH))})
    instance.report_run_failed(run, f"Reaped by {NAME}: {reap.why}.")


def _build_server_id(server: ProcessIdentity) -> str:
    return f"{server.host}/{server.boot_id}/{server.pid}/{server.pid_started}"


def _build_result(
    before: SupervisorState,
    after: SupervisorState,
    requests: list[dg.RunRequest],
    clock: Clock,
    desired: DesiredRun | None,
) -> dg.SensorResult:
    """Return the result: what to launch or why not, the cursor, and an event of the asset if the state changed."""
    summary = f"{after.phase}: {after.why}" + (f", next at {after.next_at}" if after.next_at else "")
    changed = (before.phase, before.generation, before.blocked) != (after.phase, after.generation, after.blocked)
    event = dg.AssetMaterialization(
        asset_key=ASSET,
        description=summary,
        metadata={
            "phase": after.phase.value,
            "why": after.why,
            "next": after.next_at or "when something changes",
            "generation": after.generation,
            "failures_in_a_row": after.failures,
            "restarts_in_budget": len(after.restarts_ns),
            "looked_at": iso_utc(clock.wall_ns()),
            **({"wanted_run": dg.MetadataValue.path(str(desired.path))} if desired else {}),
        },
    )
    return dg.SensorResult(
        run_requests=requests or None,
        skip_reason=None if requests else dg.SkipReason(summary),
        cursor=to_cursor(after),
        asset_events=[event] if changed or not before.why else [],
    )
