"""The sandboxed process's ends of the pipes, as source and sink of its two stages."""

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
    InstrumentsFrame,
    PipeReader,
    PipeWriter,
    RecordsFrame,
    ReportFrame,
    RequestsFrame,
    TickFrame,
    decode_ticks,
)
from hybrid_platform.trading.adapters.live import OrderRequest

ACK_TICKS = 32
"""Ticks acknowledged together, half of a live window, because each acknowledgement wakes a thread of the parent."""
ACK_INTERVAL_S = 0.05
"""After this time fewer ticks are acknowledged too, so that the parent sees a slow strategy progress."""


class PipeSource:
    """Ticks and commands from the parent, one frame at a time; acknowledged after they were processed."""

    def __init__(self, descriptor: int, up: PipeWriter, table: InstrumentTable, clock: Clock) -> None:
        self._clock = clock
        self._reader = PipeReader(descriptor, DownFrame)
        self._up = up
        self._table = table
        self._unacknowledged = 0
        self._since = 0
        """When the first of them came, monotonic ns."""
        self._aborted = False
        self.received = 0
        self.last_seq = 0

    def receive(self, limit: int | None = None, timeout: float | None = None) -> list[TickMessage | ControlMessage]:
        """Return the next frame's ticks or command; the parent bounds how many. Raises as `Channel.receive`."""
        late_ns = self._clock.monotonic_ns() - self._since
        if self._unacknowledged >= ACK_TICKS or late_ns >= ACK_INTERVAL_S * NS_PER_S:
            self._acknowledge()
        while True:
            if self._aborted:
                raise ChannelAborted("pipe")
            try:
                frame = self._read(timeout)
            except EOFError:
                # The parent has abandoned the session: decisions were sent, and no more ticks are taken.
                raise ChannelAborted("pipe") from None
            if frame is None:
                return []
            if not isinstance(frame, InstrumentsFrame):
                return [self._decode(frame)]
            for instrument in frame.entries:
                self._table.add(instrument)

    def _decode(self, frame: DownFrame) -> TickMessage | ControlMessage:
        """Return the frame's message; raise EndOfStream at the end of ticks."""
        if isinstance(frame, TickFrame):
            if not self._unacknowledged:
                self._since = self._clock.monotonic_ns()
            self._unacknowledged += frame.count
            self.received += frame.count
            return TickMessage(decode_ticks(frame, self._table))
        if isinstance(frame, CommandFrame):
            return ControlMessage(frame.command)
        if isinstance(frame, ReportFrame):
            return ControlMessage(frame.report)
        if isinstance(frame, EndOfTicks):
            self._acknowledge()
            self.last_seq = frame.last_seq
            raise EndOfStream("pipe")
        raise IsolationError("pipe: expected ticks, got a journal")

    def _read(self, timeout: float | None) -> DownFrame | None:
        """Return the next frame; if none comes soon, acknowledge the processed ticks meanwhile."""
        if self._unacknowledged:
            frame = self._reader.read(ACK_INTERVAL_S)
            if frame is not None:
                return cast(DownFrame, frame)
            self._acknowledge()
        return cast("DownFrame | None", self._reader.read(timeout))

    def _acknowledge(self) -> None:
        if self._unacknowledged:
            self._up.write(Ack(self._unacknowledged))
            self._unacknowledged = 0

    def abort(self) -> None:
        """Take no more; the parent stops sending after the failure of a stage was reported."""
        self._aborted = True


class PipeSink:
    """Audit records to the parent."""

    def __init__(self, up: PipeWriter) -> None:
        self._up = up
        self.sent = 0

    def send(self, message: RecordMessage, *, guaranteed: bool = True) -> int:
        """Send records; blocks if the pipe is full, which a live parent never lets happen."""
        self._up.write(RecordsFrame(message.records))
        self.sent += len(message.records)
        return 0

    def on_requests(self, requests: tuple[OrderRequest, ...]) -> None:
        """Send order requests; their records were sent before."""
        self._up.write(RequestsFrame(requests))

    def close(self) -> None:
        """Do nothing: the process itself ends the pipe with `Summary`."""
