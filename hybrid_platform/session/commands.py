"""The kill-switch file, through which an operator's command reaches a running session and outlasts it.

``control/commands.jsonl`` is append-only: each line holds a command, its author and its reason. The last
line is in force, so a session that starts while trading is halted starts halted. A running session polls
the file several times a second; only an operator's RESUME ends a halt.
"""

from __future__ import annotations

import msgspec

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.security.paths import DataDir

NAME = "control/commands.jsonl"
MAX_BYTES = 16 * 2**20


class CommandEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file."""

    at: str
    command: Command
    session_id: str | None = None
    """The session whose limit caused an automatic command."""


class CommandFile:
    """The file of one data directory: any process may `append`, one reader calls `read_new`."""

    def __init__(self, data_dir: DataDir, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._read = 0
        self.is_readable = True
        """Whether the file could be read; if not, the command that was returned is a HALT made here."""

    def append(self, command: Command, session_id: str | None = None) -> None:
        """Append a command; it is on disk when this returns."""
        entry = CommandEntry(iso_utc(self._clock.wall_ns()), command, session_id)
        # After a torn line the command starts on its own line, or it would be lost with the torn one.
        separator = b"\n" if self._is_torn() else b""
        self._data_dir.append(NAME, separator + msgspec.json.encode(entry) + b"\n")

    def _is_torn(self) -> bool:
        try:
            return not self._data_dir.read_bytes(NAME, MAX_BYTES).endswith(b"\n")
        except (FileNotFoundError, PlatformError):
            return False

    def standing(self) -> Command | None:
        """Return the command in force and mark all lines as read: the last command, or None after a RESUME.

        A file or a line that cannot be read counts as HALT.
        """
        entries = self.read_new()
        last = entries[-1].command if entries else None
        return None if last is None or last.kind is CommandKind.RESUME else last

    def read_new(self) -> list[CommandEntry]:
        """Return the complete lines that were appended since the last call."""
        try:
            content = self._data_dir.read_bytes(NAME, MAX_BYTES)
        except FileNotFoundError:
            self.is_readable = True
            return []
        except PlatformError as error:
            self.is_readable = False
            return [self._halt_unreadable(str(error))]
        self.is_readable = True
        fresh = content[self._read :]
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        return [self._parse(line) for line in whole.splitlines() if line.strip()]

    def _parse(self, line: bytes) -> CommandEntry:
        try:
            return msgspec.json.decode(line, type=CommandEntry)
        except (msgspec.DecodeError, ValueError) as error:
            return self._halt_unreadable(str(error))

    def _halt_unreadable(self, why: str) -> CommandEntry:
        halt = Command(CommandKind.HALT, "hybrid_platform", f"{NAME} could not be read: {why}")
        return CommandEntry(iso_utc(self._clock.wall_ns()), halt)


class CommandWatcher:
    """Carries commands between the file and a running session; polled by the supervising thread."""

    def __init__(self, file: CommandFile, session_id: str) -> None:
        self._file = file
        self._session_id = session_id
        self.automatic: list[Command] = []
        """Commands of the session's own limits; the decision sink appends them, `poll` moves them to the file."""
        self._is_halted = False

    def standing(self) -> Command | None:
        """Return the command in force at the start of the session, if there is one."""
        standing = self._file.standing()
        self._is_halted = standing is not None and standing.kind is CommandKind.HALT
        return standing

    def poll(self) -> list[Command]:
        """Append the commands of limits to the file; return the operators' commands since the last call.

        An automatic command never ends a halt, because strategy code could issue one in the name of a limit.
        """
        commands = [entry.command for entry in self._file.read_new() if entry.session_id != self._session_id]
        if commands:
            self._is_halted = commands[-1].kind is CommandKind.HALT
        while self.automatic:
            command = self.automatic.pop(0)
            if command.kind is CommandKind.HALT or not self._is_halted:
                self._file.append(command, self._session_id)
                self._is_halted = command.kind is CommandKind.HALT
        return commands
