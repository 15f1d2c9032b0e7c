"""The guarded process's ends of the pipes, in the shape that its two stages know."""

from __future__ import annotations

from typing import cast

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.session.channel import ChannelAborted, EndOfStream
from hybrid_platform.session.messages import ControlMessage, RecordMessage, TickMessage
from hybrid_platform.session.strategy_host.frames import (
    Ack,
    CommandFrame,
    DownFrame,
    EndOfTicks,
    JournalFrame,
    PipeReader,
    PipeWriter,
    RecordsFrame,
    ReportFrame,
    RequestsFrame,
    TickFrame,
    decode_ticks,
)
from hybrid_platform.trading.adapters.live import OrderRequest

ACKNOWLEDGED_AT = 32
"""Half of a live window: so many ticks are acknowledged together, where they come fast; each wakes a thread there."""
ACKNOWLEDGED_S = 0.05
"""After so long the few that were worked on are, between two frames: a slow strategy is seen to move."""


class PipeSource:
    """Ticks and commands from the parent, one frame at a time; they are acknowledged once they were worked on."""

    def __init__(self, descriptor: int, up: PipeWriter, table: InstrumentTable, clock: Clock) -> None:
        self._clock = clock
        self._reader = PipeReader(descriptor, DownFrame)
        self._up = up
        self._table = table
        self._unacknowledged = 0
        self._since = 0
        """When the first of them came, ns."""
        self._aborted = False
        self.received = 0
        self.last_seq = 0

    def receive(self, limit: int | None = None, timeout: float | None = None) -> list[TickMessage | ControlMessage]:  # noqa: C901
        """Return the next frame's ticks or command; the parent bounds how many. Raises as `Channel.receive`."""
        late_ns = self._clock.monotonic_ns() - self._since
        if self._unacknowledged >= ACKNOWLEDGED_AT or late_ns >= ACKNOWLEDGED_S * NS_PER_S:
            self._acknowledge()
        while True:
            if self._aborted:
                raise ChannelAborted("pipe")
            try:
                frame = self._read(timeout)
            except EOFError:
                # The parent gave the session up: what was decided is sent, and no more is taken.
                raise ChannelAborted("pipe") from None
            if frame is None:
                return []
            if isinstance(frame, TickFrame):
                if not self._unacknowledged:
                    self._since = self._clock.monotonic_ns()
                self._unacknowledged += frame.count
                self.received += frame.count
                return [TickMessage(decode_ticks(frame, self._table))]
            if isinstance(frame, CommandFrame):
                return [ControlMessage(frame.command)]
            if isinstance(frame, ReportFrame):
                return [ControlMessage(frame.report)]
            if isinstance(frame, EndOfTicks):
                self._acknowledge()
                self.last_seq = frame.last_seq
                raise EndOfStream("pipe")
            if isinstance(frame, JournalFrame):
                raise IsolationError("pipe: expected ticks, got a journal")
            for instrument in frame.entries:
                self._table.add(instrument)

    def _read(self, timeout: float | None) -> DownFrame | None:
        """Return the next message; where none comes soon, what was worked on is acknowledged meanwhile."""
        if self._unacknowledged:
            frame = self._reader.read(ACKNOWLEDGED_S)
            if frame is not None:
                return cast(DownFrame, frame)
            self._acknowledge()
        return cast("DownFrame | None", self._reader.read(timeout))

    def _acknowledge(self) -> None:
        if self._unacknowledged:
            self._up.write(Ack(self._unacknowledged))
            self._unacknowledged = 0

    def abort(self) -> None:
        """Take no more; the parent stops once it was told that a stage failed."""
        self._aborted = True


class PipeSink:
    """Audit records to the parent."""

    def __init__(self, up: PipeWriter) -> None:
        self._up = up
        self.sent = 0

    def send(self, message: RecordMessage, *, guaranteed: bool = True) -> int:
        """Send records; waits where the pipe is full, which a live parent never lets happen."""
        self._up.write(RecordsFrame(message.records))
        self.sent += len(message.records)
        return 0

    def on_requests(self, requests: tuple[OrderRequest, ...]) -> None:
        """Send what a live venue is to be told; the records of it are sent."""
        self._up.write(RequestsFrame(requests))

    def close(self) -> None:
        """The last word is the process's own: `Summary`."""
