"""Errors typed by what the caller should do, each with its exit code (see docs/contract.md).

A message states what is wrong, where, what was expected, and what was found. An operator never sees a traceback of
these errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class ExitCode(IntEnum):
    """Exit code of a session; a supervisor restarts on 1, 10, 11, and 13, never on 0 or 12."""

    COMPLETE = 0
    CRASH = 1
    NETWORK = 10
    PARSE = 11
    CONFIG = 12
    OVERLOAD = 13
    USAGE = 64


class PlatformError(Exception):
    """Base of all errors of the platform; raised itself for failures without a more specific type."""

    exit_code: ExitCode = ExitCode.CRASH


class Fault(NamedTuple):
    """One wrong setting."""

    path: str
    """Dotted path of the setting, e.g. ``risk.max_open_orders``."""
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}"


class ConfigError(PlatformError):
    """The settings, or something they refer to, are wrong: correct them; a restart does not help."""

    exit_code = ExitCode.CONFIG

    def __init__(self, faults: Sequence[Fault] | str) -> None:
        if isinstance(faults, str):
            self.faults: tuple[Fault, ...] = ()
            super().__init__(faults)
        else:
            self.faults = tuple(faults)
            super().__init__("\n".join(str(fault) for fault in self.faults))


class FeedParseError(PlatformError):
    """The input is truncated or holds nothing usable: good rows are kept; repair the source."""

    exit_code = ExitCode.PARSE


class NetworkError(PlatformError):
    """A venue could not be reached after the stated number of attempts: check the network, then restart."""

    exit_code = ExitCode.NETWORK


class OverloadError(PlatformError):
    """The machine cannot keep up: reduce its load, or throttle the feed, then restart."""

    exit_code = ExitCode.OVERLOAD


class StorageError(PlatformError):
    """The database could not be opened, written, or read back; acknowledged rows are not lost."""


class EvidenceError(PlatformError):
    """Evidence is missing, damaged, or of the wrong kind: do not rely on it."""


class StrategyError(PlatformError):
    """The user's strategy raised or returned something that is not a signal."""


class IsolationError(PlatformError):
    """The sandboxed process did not start or did not answer."""


class GateRefused(PlatformError):
    """A gate before the session did not pass; ``exit_code`` tells whether waiting can help."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code
