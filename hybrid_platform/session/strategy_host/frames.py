"""The frames on the pipes between the parent and the sandboxed process: typed msgpack, never pickle.

Down go instruments, ticks, commands and the end of ticks; up come audit records, acknowledgements, status and
the summary. A frame that does not decode to exactly one of these ends the session.
"""

from __future__ import annotations

import os
import select
import struct
import threading
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from hybrid_platform.domain.commands import Command
from hybrid_platform.domain.errors import IsolationError
from hybrid_platform.domain.instruments import Instrument, InstrumentTable
from hybrid_platform.domain.orders import InputRecord, Record
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.session.stage import StageStatus
from hybrid_platform.trading.accounts import AccountSnapshot
from hybrid_platform.trading.adapters.live import OrderRequest
from hybrid_platform.trading.order import Report

STATUS_INTERVAL_S = 1.0
"""How often the sandboxed process reports the status of its stages."""
MAX_FRAME = 64 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class InstrumentsFrame(msgspec.Struct, frozen=True, tag="instruments"):
    """Down: entries to append to the table, sent before the first tick that needs them."""

    entries: tuple[Instrument, ...]


class TickFrame(msgspec.Struct, frozen=True, tag="ticks"):
    """Down: a batch, its columns as little-endian bytes; a constant column is sent as one value."""

    count: int
    seq: int | bytes
    """The first of consecutive numbers, or each of them as int64."""
    instrument: int | bytes
    price: bytes
    size: bytes
    side: bytes
    trade_ref: bytes | list[str | None] | None
    ts_event: bytes
    ts_recv: bytes | None
    """None: the same as ``ts_event``."""


class CommandFrame(msgspec.Struct, frozen=True, tag="command"):
    """Down: a command, at its place between the ticks."""

    command: Command


class ReportFrame(msgspec.Struct, frozen=True, tag="report"):
    """Down: a report of a live venue, at its place between the ticks."""

    report: Report


class JournalFrame(msgspec.Struct, frozen=True, tag="journal"):
    """Down, in a reproduction only: entries of the session's journal, before the first tick."""

    records: tuple[InputRecord, ...]


class EndOfTicks(msgspec.Struct, frozen=True, tag="end"):
    """Down: no more ticks follow."""

    last_seq: int
    """The last number that ingest has assigned; numbers missing up to it were dropped."""


class StrategyReady(msgspec.Struct, frozen=True, tag="ready"):
    """Up: the strategy is built."""


class StrategyRefused(msgspec.Struct, frozen=True, tag="refused"):
    """Up: the strategy could not be built."""

    message: str
    exit_code: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """Up: so many ticks were processed; as many more may be sent."""

    events: int


class StatusFrame(msgspec.Struct, frozen=True, tag="status"):
    """Up, every second: the status of each stage, from the end of the pipeline to its beginning."""

    stages: tuple[StageStatus, ...]


class RecordsFrame(msgspec.Struct, frozen=True, tag="records"):
    """Up: audit records, in order."""

    records: tuple[Record, ...]


class RequestsFrame(msgspec.Struct, frozen=True, tag="requests"):
    """Up: order requests for a live venue, after their records."""

    requests: tuple[OrderRequest, ...]


class StageFailed(msgspec.Struct, frozen=True, tag="failed"):
    """Up: a stage failed."""

    stage: str
    message: str
    exit_code: int
    kind: Annotated[str, msgspec.Meta(pattern=r"^\w{1,100}$")]
    """The type of its error."""


class Summary(msgspec.Struct, frozen=True, tag="summary"):
    """Up, last: counts of the sandboxed process."""

    ticks: int
    """Ticks received over the pipe."""
    records: int
    """Records sent over the pipe."""
    signal_channel: tuple[int, int, int, int, int, int]
    """sent, received, dropped, depth, max_depth, blocked."""
    account: AccountSnapshot
    """The engine's account; postflight compares it with the one from the ``trades`` table (I4)."""


DownFrame = InstrumentsFrame | TickFrame | CommandFrame | ReportFrame | JournalFrame | EndOfTicks
UpFrame = StrategyReady | StrategyRefused | Ack | StatusFrame | RecordsFrame | RequestsFrame | StageFailed | Summary


class PipeWriter:
    """Writes frames to a pipe; safe from several threads. Raises BrokenPipeError if the reader is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()

    def write(self, frame: DownFrame | UpFrame) -> None:
        """Write one frame, whole."""
        body = self._encoder.encode(frame)
        rest = memoryview(_LENGTH.pack(len(body)) + body)
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


class PipeReader:
    """Reads frames of one direction from a pipe; one thread."""

    def __init__(self, descriptor: int, kind: Any) -> None:
        """``kind`` is `UpFrame` or `DownFrame`; anything else on the pipe raises IsolationError."""
        self._descriptor = descriptor
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._buffer = bytearray()

    def read(self, timeout: float | None = None) -> Any:
        """Return the next frame, or None after ``timeout`` seconds.

        Raises EOFError at the end of the pipe and IsolationError for a frame that does not decode.
        """
        while (frame := self._buffered()) is None:
            if not self._poll.poll(None if timeout is None else timeout * 1000):
                return None
            piece = os.read(self._descriptor, 1 << 20)
            if not piece:
                raise EOFError("end of the pipe")
            self._buffer += piece
        return frame

    def _buffered(self) -> Any:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME:
            raise IsolationError(f"pipe: expected a frame of at most {MAX_FRAME} bytes, got {length}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, ValueError) as error:
            raise IsolationError(f"pipe: expected a message, got one that does not decode: {error}") from None


def encode_ticks(batch: TickBatch) -> TickFrame:
    """Return the frame of a batch."""
    seq, instrument, refs = batch.seq, batch.instrument, batch.trade_ref
    first, last = int(seq[0]), int(seq[-1])
    return TickFrame(
        len(batch),
        first if last - first + 1 == len(batch) else seq.tobytes(),
        int(instrument[0])
        if len(batch.table) == 1 or not (instrument != instrument[0]).any()
        else instrument.tobytes(),
        batch.price.tobytes(),
        batch.size.tobytes(),
        batch.side.tobytes(),
        None if refs is None else refs.tobytes() if refs.dtype == np.int64 else refs.tolist(),
        batch.ts_event.tobytes(),
        None if np.array_equal(batch.ts_event, batch.ts_recv) else batch.ts_recv.tobytes(),
    )


def decode_ticks(frame: TickFrame, table: InstrumentTable) -> TickBatch:
    """Return the batch of a frame; raise IsolationError if its columns disagree in length."""
    n = frame.count
    ts_event = _int64s(frame.ts_event, n)
    refs: npt.NDArray[Any] | None
    if isinstance(frame.trade_ref, list):
        refs = np.array(frame.trade_ref, dtype=object)
    else:
        refs = None if frame.trade_ref is None else _int64s(frame.trade_ref, n)
    side = np.frombuffer(frame.side, np.int8)
    if len(side) != n or (refs is not None and len(refs) != n):
        raise IsolationError(f"pipe: expected columns of {n} ticks, got another length")
    return TickBatch(
        table,
        np.arange(frame.seq, frame.seq + n, dtype=np.int64) if isinstance(frame.seq, int) else _int64s(frame.seq, n),
        np.full(n, frame.instrument, np.int64) if isinstance(frame.instrument, int) else _int64s(frame.instrument, n),
        _int64s(frame.price, n),
        _int64s(frame.size, n),
        side,
        refs,
        ts_event,
        ts_event if frame.ts_recv is None else _int64s(frame.ts_recv, n),
    )


def _int64s(column: bytes, count: int) -> npt.NDArray[np.int64]:
    values = np.frombuffer(column, np.int64)
    if len(values) != count:
        raise IsolationError(f"pipe: expected a column of {count} ticks, got {len(values)}")
    return values
