"""Recording of raw frames with their receive times, to be replayed through the same decoder.

in: frames · out: `<data_dir>/frames/<session>/<source>-00001.rec.gz` …, one frame per line:
``<receive time, ns> <frame>``; ``<ns>~<base64>`` for a frame that contains a line break, ``<ns>=<base64>`` for a
binary one. Disk use is bounded; a disk error ends the recording, not the feed.
"""

from __future__ import annotations

import os
import zlib
from base64 import b64encode
from collections import deque
from contextlib import suppress

from hybrid_platform.domain.errors import PlatformError
from hybrid_platform.domain.log import Log
from hybrid_platform.feeds.base import Store

FOLDER = "frames"
FLUSH_NS = 1_000_000_000
"""Longest part of a recording that a killed process may lose."""
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 4


class FrameRecorder:
    """Recorder of one source's frames; owned by the feed's thread.

    A file is closed at ``segment_bytes`` (compressed). Beyond ``max_bytes`` in total, the oldest files of
    this recording are deleted; files of other sessions are never touched.
    """

    def __init__(self, store: Store, stem: str, *, segment_bytes: int, max_bytes: int, log: Log) -> None:
        self._store = store
        self._stem = f"{FOLDER}/{stem}"
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._log = log
        self._number = 0
        self._descriptor: int | None = None
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._size = 0
        self._files: deque[tuple[str, int]] = deque()
        self._flushed_ns = 0
        self.frames = 0
        self.deleted_files = 0
        self.failed = False

    def write(self, ts_recv: int, frame: bytes | str, *, binary: bool = False) -> None:
        """Write a frame; never raises."""
        if self.failed:
            return
        data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
        if binary or b"\n" in data or b"\r" in data:
            line = b"%019d%c%s\n" % (ts_recv, b"=" if binary else b"~", b64encode(data))
        else:
            line = b"%019d %s\n" % (ts_recv, data)
        try:
            if self._descriptor is None:
                self._open_file()
            self._write_bytes(self._gzip.compress(line))
            self.frames += 1
            if ts_recv - self._flushed_ns >= FLUSH_NS:
                self._write_bytes(self._gzip.flush(zlib.Z_SYNC_FLUSH))
                self._flushed_ns = ts_recv
            if self._size >= self._segment_bytes:
                self._close_file()
        except (OSError, PlatformError) as error:
            self._fail(error)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        try:
            self._close_file()
        except (OSError, PlatformError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failed = True
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
        self._log.error("frame recording ended: the disk failed", source=self._stem, error=str(error))

    def _open_file(self) -> None:
        self._number += 1
        name = f"{self._stem}-{self._number:05d}.rec.gz"
        self._descriptor = self._store.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._size = 0
        self._files.append((name, 0))

    def _write_bytes(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size += len(data)

    def _close_file(self) -> None:
        if self._descriptor is None:
            return
        self._write_bytes(self._gzip.flush())
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)
        self._files[-1] = (self._files[-1][0], self._size)
        while len(self._files) > 1 and sum(size for _, size in self._files) > self._max_bytes:
            name, _ = self._files.popleft()
            with suppress(FileNotFoundError):
                self._store.resolve(name).unlink()
            self.deleted_files += 1
