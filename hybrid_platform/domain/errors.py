"""Errors typed by what somebody should do about them, each with the exit code of SPEC 9.

A message says what, where, what was expected and what was found. None of these is ever shown to
an operator as a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple


class ExitCode(IntEnum):
    """What a session's end means to a supervisor: restart on 1, 10, 11 and 13, never on 0 or 12."""

    COMPLETE = 0
    CRASH = 1
    NETWORK = 10
    PARSE = 11
    CONFIG = 12
    OVERLOAD = 13
    USAGE = 64


class PlatformError(Exception):
    """Something failed that has no better name: look at the log, then report it."""

    exit_code: ExitCode = ExitCode.CRASH


class Fault(NamedTuple):
    """One wrong setting."""

    path: str
    """Dotted path of the setting, e.g. ``risk.max_open_orders``."""
    expected: str
    was: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.was}"


class ConfigError(PlatformError):
    """The settings (or something they name) are wrong: correct them; a restart will not help."""

    exit_code = ExitCode.CONFIG

    def __init__(self, faults: Sequence[Fault] | str) -> None:
        if isinstance(faults, str):
            self.faults: tuple[Fault, ...] = ()
            super().__init__(faults)
        else:
            self.faults = tuple(faults)
            super().__init__("\n".join(str(fault) for fault in self.faults))


class FeedParseError(PlatformError):
    """The input ended in the middle or held nothing usable: good rows are kept, mend the source."""

    exit_code = ExitCode.PARSE


class NetworkError(PlatformError):
    """A venue could not be reached after the stated tries: check the line, then restart."""

    exit_code = ExitCode.NETWORK


class OverloadError(PlatformError):
    """The machine cannot keep up: give it room, or throttle, then restart."""

    exit_code = ExitCode.OVERLOAD


class StorageError(PlatformError):
    """The database could not be opened, written or read back: nothing acknowledged is lost."""


class EvidenceError(PlatformError):
    """Evidence is missing, damaged, or not the kind of record it should be: do not rely on it."""


class StrategyError(PlatformError):
    """The user's strategy raised or returned something that is not a signal."""


class IsolationError(PlatformError):
    """The guarded process did not come up, or did not answer: nothing of the strategy was run."""


class GateRefused(PlatformError):
    """A gate before the session did not pass; ``exit_code`` says whether waiting can help."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code
