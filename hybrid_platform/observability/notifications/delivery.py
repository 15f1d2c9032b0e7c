"""Delivery of notifications in the background: senders do not wait, and a failed delivery does not affect a run.

In: notifications. Out: each of them at every receiver in the settings, or a warning in the log with the receiver and
the reason. Addresses are read here, from the environment or a file, and stored nowhere else.
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
from hybrid_platform.observability.notifications.channels import CHANNELS, Receiver, check_address, post
from hybrid_platform.observability.notifications.messages import Notification, NotificationSource
from hybrid_platform.security.paths import check_input_file
from hybrid_platform.settings.operations import NotifySettings

MAX_BYTES = 4_096
MAX_WAITING = 100
_PRIVATE = 0o077


def find_receivers(settings: NotifySettings, environ: Mapping[str, str] = os.environ) -> list[Receiver]:
    """Return the configured receivers.

    Raises ConfigError, without repeating an address, for a receiver whose address cannot be read or used.
    """
    found = []
    for channel in CHANNELS:
        variable, file = getattr(settings, f"{channel}_env"), getattr(settings, f"{channel}_file")
        for setting, address in (
            (f"notify.{channel}_env", None if variable is None else _from_environment(channel, variable, environ)),
            (f"notify.{channel}_file", None if file is None else _from_file(channel, file)),
        ):
            if address is None:
                continue
            if fault := check_address(address):
                raise ConfigError([Fault(setting, "to lead to an https URL (http: on this machine only)", fault)])
            found.append(Receiver(channel, address))
    return found


def describe_source(
    settings: NotifySettings, clock: Clock, *, session_id: str | None, run_id: str | None, in_dagster: bool
) -> NotificationSource:
    """Return place and time of a notification; only a run of Dagster has a page to link to."""
    link = f"{settings.ui_url.rstrip('/')}/runs/{run_id}" if settings.ui_url and run_id and in_dagster else None
    return NotificationSource(iso_utc(clock.wall_ns()), os.uname().nodename, session_id, run_id, link)


class Notifier:
    """One thread per receiver, which delivers in order. Close it at the end. Without receivers it does nothing."""

    def __init__(self, settings: NotifySettings, log: Log, environ: Mapping[str, str] = os.environ) -> None:
        """Raise ConfigError as `find_receivers` does."""
        self._settings = settings
        self._log = log
        self._queues = [_DeliveryQueue(receiver, settings, log) for receiver in find_receivers(settings, environ)]

    def send(self, notification: Notification) -> None:
        """Queue a notification for delivery; return immediately."""
        for each in self._queues:
            each.put(notification)

    def close(self, timeout_s: float) -> list[str]:
        """Wait at most ``timeout_s`` for pending deliveries; return what was not delivered, and why."""
        deadline = time.monotonic() + timeout_s
        for each in self._queues:
            each.end()
        return [fault for each in self._queues for fault in each.close(deadline)]


class _DeliveryQueue:
    """Bounded queue of notifications to one receiver."""

    def __init__(self, receiver: Receiver, settings: NotifySettings, log: Log) -> None:
        self._receiver = receiver
        self._settings = settings
        self._log = log
        self._waiting: queue.Queue[Notification | None] = queue.Queue(MAX_WAITING)
        self._faults: list[str] = []
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, notification: Notification) -> None:
        if self._thread is None:
            name = f"notify-{self._receiver.channel}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(notification)
        except queue.Full:
            self._fail(notification, "too many wait")

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
                self._faults.append(f"{self._receiver.channel}: not delivered in time")
                self._log.warning("notification not delivered", to=self._receiver.channel, why="not in time")
        return self._faults

    def _run(self) -> None:
        render = CHANNELS[self._receiver.channel]
        while not self._closed.is_set() and (notification := self._waiting.get()) is not None:
            timeout_s, attempts = self._settings.timeout_seconds, self._settings.attempts
            try:
                body = render(notification)
                why = post(self._receiver, body, timeout_s=timeout_s, attempts=attempts, pause=self._closed.wait)
            except Exception as error:  # its text may contain the address
                why = type(error).__name__
            if self._closed.is_set():
                return
            if why:
                self._fail(notification, why)
            else:
                self._log.info("notification delivered", to=self._receiver.channel, kind=notification.event)

    def _fail(self, notification: Notification, why: str) -> None:
        self._faults.append(f"{self._receiver.channel}: {why}")
        self._log.warning("notification not delivered", to=self._receiver.channel, kind=notification.event, why=why)


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
