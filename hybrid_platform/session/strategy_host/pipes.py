"""The guarded process's ends of the pipes, in the shape that its two stages know."""

from __future__ import annotations

from typing import cast

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.session.channel import ChannelAborted, EndOfStream
from hybrid_platform.session.messages import Records, Ticks, Told
from hybrid_platform.session.strategy_host.frames import (
    Decided,
    Down,
    End,
    FrameReader,
    FrameWriter,
    Heard,
    Journalled,
    Order,
    Taken,
    TickFrame,
    Wanted,
    batch_of,
)
from hybrid_platform.trading.adapters.live import Want

ACKNOWLEDGED_AT = 32
"""Half of a live window: so many ticks are acknowledged together, where they come fast; each wakes a thread there."""
ACKNOWLEDGED_S = 0.05
"""After so long the few that were worked on are, between two frames: a slow strategy is seen to move."""


class PipeSource:
    """Ticks and commands from the parent, one frame at a time; they are acknowledged once they were worked on."""

    def __init__(self, descriptor: int, up: FrameWriter, table: InstrumentTable, clock: Clock) -> None:
        self._clock = clock
        self._reader = FrameReader(descriptor, Down)
        self._up = up
        self._table = table
        self._unacknowledged = 0
        self._since = 0
        """When the first of them came, ns."""
        self._aborted = False
        self.received = 0
        self.last_seq = 0

    def take(self, limit: int | None = None, timeout: float | None = None) -> list[Ticks | Told]:  # noqa: C901
        """Return the next frame's ticks or command; the parent bounds how many. Raises as `Channel.take`."""
        late_ns = self._clock.monotonic_ns() - self._since
        if self._unacknowledged >= ACKNOWLEDGED_AT or late_ns >= ACKNOWLEDGED_S * NS_PER_S:
            self._acknowledge()
        while True:
            if self._aborted:
                raise ChannelAborted("pipe")
            try:
                message = self._read(timeout)
            except EOFError:
                # The parent gave the session up: what was decided is sent, and no more is taken.
                raise ChannelAborted("pipe") from None
            if message is None:
                return []
            if isinstance(message, TickFrame):
                if not self._unacknowledged:
                    self._since = self._clock.monotonic_ns()
                self._unacknowledged += message.count
                self.received += message.count
                return [Ticks(batch_of(message, self._table))]
            if isinstance(message, Order):
                return [Told(message.command)]
            if isinstance(message, Heard):
                return [Told(message.report)]
            if isinstance(message, End):
                self._acknowledge()
                self.last_seq = message.last_seq
                raise EndOfStream("pipe")
            if isinstance(message, Journalled):
                raise IsolationError("pipe: expected ticks, got a journal")
            for instrument in message.entries:
                self._table.add(instrument)

    def _read(self, timeout: float | None) -> Down | None:
        """Return the next message; where none comes soon, what was worked on is acknowledged meanwhile."""
        if self._unacknowledged:
            message = self._reader.read(ACKNOWLEDGED_S)
            if message is not None:
                return cast(Down, message)
            self._acknowledge()
        return cast("Down | None", self._reader.read(timeout))

    def _acknowledge(self) -> None:
        if self._unacknowledged:
            self._up.write(Taken(self._unacknowledged))
            self._unacknowledged = 0

    def abort(self) -> None:
        """Take no more; the parent stops once it was told that a stage failed."""
        self._aborted = True


class PipeSink:
    """Audit records to the parent."""

    def __init__(self, up: FrameWriter) -> None:
        self._up = up
        self.sent = 0

    def put(self, parcel: Records, *, keep: bool = True) -> int:
        """Send records; waits where the pipe is full, which a live parent never lets happen."""
        self._up.write(Decided(parcel.records))
        self.sent += len(parcel.records)
        return 0

    def want(self, wants: tuple[Want, ...]) -> None:
        """Send what a live venue is to be told; the records of it are sent."""
        self._up.write(Wanted(wants))

    def close(self) -> None:
        """The last word is the process's own: `Done`."""
