"""The guarded process's ends of the pipes, in the shape that its two stages know."""

from __future__ import annotations

from typing import cast

from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.pipeline.channel import ChannelAborted, EndOfStream
from hybrid_platform.pipeline.guarded.wire import (
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
from hybrid_platform.pipeline.parcels import Records, Ticks, Told
from hybrid_platform.trading.live import Want

ACKNOWLEDGED_AT = 32
"""Half of a live window: ticks are acknowledged together as long as more of them have come."""


class PipeSource:
    """Ticks and commands from the parent, one frame at a time; they are acknowledged once they were worked on."""

    def __init__(self, descriptor: int, up: FrameWriter, table: InstrumentTable) -> None:
        self._reader = FrameReader(descriptor, Down)
        self._up = up
        self._table = table
        self._unacknowledged = 0
        self._aborted = False
        self.received = 0
        self.last_seq = 0

    def take(self, limit: int | None = None, timeout: float | None = None) -> list[Ticks | Told]:
        """Return the next frame's ticks or command; the parent bounds how many. Raises as `Channel.take`."""
        if self._unacknowledged >= ACKNOWLEDGED_AT or not self._reader.has_more:
            self._acknowledge()
        while True:
            if self._aborted:
                raise ChannelAborted("pipe")
            try:
                message = cast("Down | None", self._reader.read(timeout))
            except EOFError:
                # The parent gave the session up: what was decided is sent, and no more is taken.
                raise ChannelAborted("pipe") from None
            if message is None:
                return []
            if isinstance(message, TickFrame):
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
                raise IsolationError("pipe: expected ticks, was a journal")
            for instrument in message.entries:
                self._table.add(instrument)

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
