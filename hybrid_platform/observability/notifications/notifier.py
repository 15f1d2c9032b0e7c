"""Delivers notices beside whoever gives them: nobody waits for a receiver, and no run is harmed by one.

in: notices · out: each of them at every receiver that the settings name, or a warning in the log that says
which was not reached, and why. Addresses are read here, from the environment or a file, and kept nowhere else.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.log import Log
from hybrid_platform.observability.notifications.messages import Notice, Origin
from hybrid_platform.observability.notifications.webhooks import Receiver, fault_of, post
from hybrid_platform.security.paths import check_input_file
from hybrid_platform.settings.operations import NotifySettings

MAX_BYTES = 4_096
MAX_WAITING = 100
_PRIVATE = 0o077


def receivers_of(settings: NotifySettings, environ: Mapping[str, str] = os.environ) -> list[Receiver]:
    """Return the receivers; raise ConfigError, which repeats no address, where one that is named is not there."""
    found = []
    for name, variable, file in (
        ("webhook", settings.webhook_env, settings.webhook_file),
        ("slack", settings.slack_env, settings.slack_file),
    ):
        for setting, address in (
            (f"notify.{name}_env", None if variable is None else _from_environment(name, variable, environ)),
            (f"notify.{name}_file", None if file is None else _from_file(name, file)),
        ):
            if address is None:
                continue
            if fault := fault_of(address):
                raise ConfigError([Fault(setting, "to lead to an https URL (http: on this machine only)", fault)])
            found.append(Receiver(name, address))
    return found


def origin_of(
    settings: NotifySettings, clock: Clock, *, session_id: str | None, run_id: str | None, in_dagster: bool
) -> Origin:
    """Return where and when a notice arises; only a run of Dagster's has a page there."""
    link = f"{settings.ui_url.rstrip('/')}/runs/{run_id}" if settings.ui_url and run_id and in_dagster else None
    return Origin(iso_utc(clock.wall_ns()), os.uname().nodename, session_id, run_id, link)


class Notifier:
    """One thread per receiver, which delivers in order; close it. With no receivers it does nothing."""

    def __init__(self, settings: NotifySettings, log: Log, environ: Mapping[str, str] = os.environ) -> None:
        """Raises ConfigError as `receivers_of` does."""
        self._settings = settings
        self._log = log
        self._lanes = [_Lane(receiver, settings, log) for receiver in receivers_of(settings, environ)]

    def tell(self, notice: Notice) -> None:
        """Have a notice delivered; returns at once."""
        for lane in self._lanes:
            lane.put(notice)

    def close(self, patience_s: float) -> list[str]:
        """Wait for what is being delivered, ``patience_s`` in all; return what was not delivered, and why."""
        deadline = time.monotonic() + patience_s
        for lane in self._lanes:
            lane.end()
        return [fault for lane in self._lanes for fault in lane.close(deadline)]


class _Lane:
    """The way to one receiver."""

    def __init__(self, receiver: Receiver, settings: NotifySettings, log: Log) -> None:
        self._receiver = receiver
        self._settings = settings
        self._log = log
        self._waiting: queue.Queue[Notice | None] = queue.Queue(MAX_WAITING)
        self._faults: list[str] = []
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, notice: Notice) -> None:
        if self._thread is None:
            name = f"notify-{self._receiver.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            self._fault(notice, "too many wait")

    def end(self) -> None:
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            self._closed.set()

    def close(self, deadline: float) -> list[str]:
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                self._closed.set()
                self._faults.append(f"{self._receiver.name}: not delivered in time")
                self._log.warning("notification not delivered", to=self._receiver.name, why="not in time")
        return self._faults

    def _run(self) -> None:
        while not self._closed.is_set() and (notice := self._waiting.get()) is not None:
            body = notice.as_slack() if self._receiver.name == "slack" else notice.as_json()
            timeout_s, attempts = self._settings.timeout_seconds, self._settings.attempts
            try:
                why = post(self._receiver, body, timeout_s=timeout_s, attempts=attempts, pause=self._closed.wait)
            except Exception as error:  # its text may hold the address
                why = type(error).__name__
            if self._closed.is_set():
                return
            if why:
                self._fault(notice, why)
            else:
                self._log.info("notification delivered", to=self._receiver.name, event=notice.event)

    def _fault(self, notice: Notice, why: str) -> None:
        self._faults.append(f"{self._receiver.name}: {why}")
        self._log.warning("notification not delivered", to=self._receiver.name, event=notice.event, why=why)


def _from_environment(name: str, variable: str, environ: Mapping[str, str]) -> str:
    address = environ.get(variable, "").strip()
    if not address:
        raise ConfigError(
            [Fault(f"notify.{name}_env", f"the variable {variable} to hold an address", "none, or an empty one")]
        )
    return address


def _from_file(name: str, path: str) -> str:
    setting = f"notify.{name}_file"
    with Path(check_input_file(path, setting)).open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & _PRIVATE:
            raise ConfigError([Fault(setting, "a file that only its owner may use (0600)", f"{mode & 0o7777:04o}")])
        content = file.read(MAX_BYTES)
    try:
        return content.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ConfigError([Fault(setting, "an address in ASCII", "other characters")]) from None
