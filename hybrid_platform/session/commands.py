"""The kill switch: how an operator's word reaches a running session, and outlasts it (DESIGN 3).

An append-only file ``control/commands.jsonl``: each line says who, what and why. The last line is the
standing order: a session that starts while trading is halted starts halted. A running session looks at
the file several times a second; only a person's RESUME ends a halt.
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
    """One line."""

    at: str
    command: Command
    session_id: str | None = None
    """The session whose limit gave an automatic command."""


class CommandFile:
    """The file of one data directory; `give` from anywhere, `new` from one reader."""

    def __init__(self, data_dir: DataDir, clock: Clock) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._read = 0
        self.is_readable = True
        """Whether the last look could read the file; what it returned then is no line of it."""

    def give(self, command: Command, session_id: str | None = None) -> None:
        """Append a command; it is on the disk when this returns."""
        entry = CommandEntry(iso_utc(self._clock.wall_ns()), command, session_id)
        # Behind a line that broke off this one would be a part of it, and a RESUME would resume nothing.
        own_line = b"\n" if self._is_torn() else b""
        self._data_dir.append(NAME, own_line + msgspec.json.encode(entry) + b"\n")

    def _is_torn(self) -> bool:
        try:
            return not self._data_dir.read_bytes(NAME, MAX_BYTES).endswith(b"\n")
        except (FileNotFoundError, PlatformError):
            return False

    def standing(self) -> Command | None:
        """Return the order that stands: the last command, unless it is RESUME; and count all as read.

        A file that cannot be read, or a line that is none, stands for HALT: what cannot be judged is denied.
        """
        entries = self.new()
        last = entries[-1].command if entries else None
        return None if last is None or last.kind is CommandKind.RESUME else last

    def new(self) -> list[CommandEntry]:
        """Return the whole lines that came since the last call."""
        try:
            content = self._data_dir.read_bytes(NAME, MAX_BYTES)
        except FileNotFoundError:
            self.is_readable = True
            return []
        except PlatformError as error:
            self.is_readable = False
            return [self._unreadable(str(error))]
        self.is_readable = True
        fresh = content[self._read :]
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        return [self._entry(line) for line in whole.splitlines() if line.strip()]

    def _entry(self, line: bytes) -> CommandEntry:
        try:
            return msgspec.json.decode(line, type=CommandEntry)
        except (msgspec.DecodeError, ValueError) as error:
            return self._unreadable(str(error))

    def _unreadable(self, why: str) -> CommandEntry:
        halt = Command(CommandKind.HALT, "hybrid_platform", f"{NAME} could not be read: {why}")
        return CommandEntry(iso_utc(self._clock.wall_ns()), halt)


class CommandWatcher:
    """Carries commands between the file and a running session; called by the supervising thread."""

    def __init__(self, file: CommandFile, session_id: str) -> None:
        self._file = file
        self._session_id = session_id
        self.automatic: list[Command] = []
        """Commands that the session's own limits gave; appended by the decision sink, moved to the file here."""
        self._is_halted = False

    def standing(self) -> Command | None:
        """Return what a session has to begin with."""
        standing = self._file.standing()
        self._is_halted = standing is not None and standing.kind is CommandKind.HALT
        return standing

    def poll(self) -> list[Command]:
        """Write down what limits gave, and return what operators said since the last look.

        A halt stands in the file until a person ends it: strategy code could say anything in the limits' name.
        """
        said = [entry.command for entry in self._file.new() if entry.session_id != self._session_id]
        if said:
            self._is_halted = said[-1].kind is CommandKind.HALT
        while self.automatic:
            command = self.automatic.pop(0)
            if command.kind is CommandKind.HALT or not self._is_halted:
                self._file.give(command, self._session_id)
                self._is_halted = command.kind is CommandKind.HALT
        return said
