"""Sensors that notify operators of failed runs, overload, recovery and halts. All are stopped by default.

The receivers are part of each run's own settings (``notify``). Halts are read from the command file of each data
directory that recent runs used. A notification that could not be delivered fails the sensor's tick, never a run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from hybrid_platform.defs.session.jobs import shadow_run_job
from hybrid_platform.defs.shared.names import EXIT_CODE_TAG, SESSION_TAG, SHADOW
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import CommandKind
from hybrid_platform.domain.errors import ConfigError, PlatformError
from hybrid_platform.domain.text import plural
from hybrid_platform.evidence.records import POSTFLIGHT, PRAGMA, PREFLIGHT, REFUSAL, SESSION, Evidence, read_evidence
from hybrid_platform.observability.notifications.delivery import Notifier, describe_source
from hybrid_platform.observability.notifications.messages import (
    Notification,
    build_failure,
    build_recovery,
    build_trading_change,
)
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import CommandEntry, CommandFile
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.operations import NotifySettings
from hybrid_platform.settings.session import SessionSettings

DELIVERY_SECONDS = 9.0
"""Bound per delivery: a sensor's tick may take 60 s, and may have to notify of five runs."""
INTERVAL_S = 30
RECENT_RUNS = 25
UNREADABLE = "unreadable:"
"""Prefix of a data directory in the cursor: a notification that its command file is unreadable has been sent."""
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


class NotDelivered(PlatformError):
    """A receiver did not accept a notification. The run itself is not affected."""


class _TickLog:
    """Log that writes to the sensor's tick."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, message: str, **fields: Any) -> None:
        self._logger.info("%s %s", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._logger.warning("%s %s", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._logger.error("%s %s", message, fields)


def _read_launched(run: dg.DagsterRun) -> Mapping[str, Any]:
    """Return the settings that a run was launched with, not validated."""
    found: Any = run.run_config
    for key in ("resources", "session", "config"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _load_notify_settings(stated: Mapping[str, Any]) -> SessionSettings:
    """Return a run's settings, or only the part that names the receivers if the settings are invalid."""
    receivers = {name: stated[name] for name in ("notify", "data_dir") if name in stated}
    try:
        return load_settings(stated)
    except ConfigError:
        return load_settings(receivers)


def _deliver(notify: NotifySettings, logger: logging.Logger, notifications: list[Notification]) -> None:
    """Deliver the notifications; raise NotDelivered, or ConfigError for a receiver that does not exist."""
    notifier = Notifier(notify, _TickLog(logger))
    for notification in notifications:
        notifier.send(notification)
    if faults := notifier.close(DELIVERY_SECONDS):
        raise NotDelivered("; ".join(sorted(set(faults))))


def _reasons(context: dg.RunFailureSensorContext, settings: SessionSettings) -> list[str]:
    """Return why a run failed: the reasons in its evidence, else those of its failed steps, else Dagster's."""
    session_id = context.dagster_run.tags.get(SESSION_TAG)
    if session_id is not None:
        try:
            data_dir = DataDir(settings.data_dir)
            for kind in (REFUSAL, POSTFLIGHT, SESSION, PRAGMA, PREFLIGHT):
                evidence = read_evidence(data_dir, session_id, kind, Evidence)
                if evidence is not None and evidence.reasons:
                    return list(evidence.reasons)
        except PlatformError as error:
            context.log.warning(f"evidence could not be read: {error}")
    steps = [event.step_failure_data.user_failure_data for event in context.get_step_failure_events()]
    descriptions = [step.description for step in steps if step is not None and step.description]
    return descriptions or [context.failure_event.message or "no reason was given"]


@dg.run_failure_sensor(
    name="notify_failure",
    monitored_jobs=[shadow_run_job],
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=INTERVAL_S,
    description="Notifies the receivers in the run's settings of a shadow run that failed or was overloaded (13).",
)
def notify_failure(context: dg.RunFailureSensorContext) -> None:
    """Notify of one failed run."""
    run = context.dagster_run
    settings = _load_notify_settings(_read_launched(run))
    code = run.tags.get(EXIT_CODE_TAG, "")
    origin = describe_source(
        settings.notify, SystemClock(), session_id=run.tags.get(SESSION_TAG), run_id=run.run_id, in_dagster=True
    )
    notification = build_failure(origin, int(code) if code.isdecimal() else None, _reasons(context, settings))
    _deliver(settings.notify, context.log, [notification])


@dg.run_status_sensor(
    name="notify_recovery",
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[shadow_run_job],
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=INTERVAL_S,
    description="Notifies of a shadow run that succeeded after one that failed.",
)
def notify_recovery(context: dg.RunStatusSensorContext) -> None:
    """Notify of one run that succeeded, if the run before it failed."""
    run = context.dagster_run
    before = _find_previous_run(context.instance, run.run_id)
    if before is None or before.status is not dg.DagsterRunStatus.FAILURE:
        return
    settings = _load_notify_settings(_read_launched(run))
    origin = describe_source(
        settings.notify, SystemClock(), session_id=run.tags.get(SESSION_TAG), run_id=run.run_id, in_dagster=True
    )
    _deliver(
        settings.notify, context.log, [build_recovery(origin, before.tags.get(SESSION_TAG) or f"run {before.run_id}")]
    )


def _find_previous_run(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    """Return the last ended shadow run that was created before this one."""
    ended = dg.RunsFilter(job_name=SHADOW, statuses=ENDED)
    runs = iter(instance.get_runs(ended, limit=RECENT_RUNS))  # the latest first
    for run in runs:
        if run.run_id == run_id:
            return next(runs, None)
    return None


@dg.sensor(
    name="notify_halt",
    default_status=dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds=INTERVAL_S,
    description="Notifies of every halt, reduction and resume of trading, by operators and by limits.",
)
def notify_halt(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Notify of the commands since the last tick; at the first tick, of the one that is in force."""
    seen: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
    sent = 0
    faults: list[str] = []
    for settings in _iterate_recent_settings(context.instance):
        place = str(DataDir(settings.data_dir).root)
        file = CommandFile(DataDir(settings.data_dir), SystemClock())
        entries = file.read_new()
        known, unreadable = seen.get(place), f"{UNREADABLE} {place}"
        if not file.is_readable:
            # Notify once and keep the position, so that earlier commands are not repeated once the file is readable.
            fresh = [] if unreadable in seen else entries
        else:
            fresh = _find_command_in_force(entries) if known is None or len(entries) < known else entries[known:]
        if fresh:
            origin = describe_source(settings.notify, SystemClock(), session_id=None, run_id=None, in_dagster=True)
            notifications = [
                build_trading_change(origin._replace(session_id=each.session_id), each.command) for each in fresh
            ]
            try:
                _deliver(settings.notify, context.log, notifications)
            except (NotDelivered, PlatformError) as error:
                # Keep the position: the next tick tries again, and the other directories are not held up.
                faults.append(f"{place}: {error}")
                continue
        sent += len(fresh)
        if file.is_readable:
            seen[place] = len(entries)
            seen.pop(unreadable, None)
        else:
            seen[unreadable] = 1
        context.update_cursor(json.dumps(seen))
    summary = f"notified of {plural(sent, 'command')}" if sent else "no new command"
    if faults:
        summary = f"{summary}; tried again at the next tick: {'; '.join(faults)}"
        context.log.error(summary)
    return dg.SkipReason(summary)


def _iterate_recent_settings(instance: dg.DagsterInstance) -> Iterator[SessionSettings]:
    """Return the settings of recent runs, the latest for each data directory; without any, the environment's."""
    places = set()
    stated = [_read_launched(run) for run in instance.get_runs(dg.RunsFilter(job_name=SHADOW), limit=RECENT_RUNS)]
    for each in stated or [{}]:
        settings = _load_notify_settings(each)
        if settings.data_dir not in places:
            places.add(settings.data_dir)
            yield settings


def _find_command_in_force(entries: list[CommandEntry]) -> list[CommandEntry]:
    last = entries[-1:]
    return [entry for entry in last if entry.command.kind is not CommandKind.RESUME]
