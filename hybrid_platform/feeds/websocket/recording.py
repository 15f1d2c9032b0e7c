"""Raw frames with their receive times, written while a feed runs and read again through the same decoder.

in: frames · out: `<data_dir>/frames/<session>/<source>-00001.rec.gz` …, one frame a line:
``<receive time, ns> <frame>``; ``<ns>~<base64>`` for a frame with a line break in it, ``<ns>=<base64>``
for a binary one. What a venue sent on a bad day becomes a test. Disk use is bounded; a disk that
fails ends the recording, not the feed.
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
"""How much of a recording a killed process may lose."""
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 4


class FrameRecorder:
    """Writes one source's frames; owned by the feed's thread.

    A file is closed at ``segment_bytes`` (compressed); beyond ``max_bytes`` in all, the oldest of
    this recording are deleted. Files of other sessions are never touched.
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
        self._kept: deque[tuple[str, int]] = deque()
        self._flushed_ns = 0
        self.frames = 0
        self.deleted_files = 0
        self.failed = False

    def write(self, ts_recv: int, frame: bytes | str, *, binary: bool = False) -> None:
        """Keep a frame; never raises."""
        if self.failed:
            return
        data = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
        if binary or b"\n" in data or b"\r" in data:
            line = b"%019d%c%s\n" % (ts_recv, b"=" if binary else b"~", b64encode(data))
        else:
            line = b"%019d %s\n" % (ts_recv, data)
        try:
            if self._descriptor is None:
                self._begin()
            self._put(self._gzip.compress(line))
            self.frames += 1
            if ts_recv - self._flushed_ns >= FLUSH_NS:
                self._put(self._gzip.flush(zlib.Z_SYNC_FLUSH))
                self._flushed_ns = ts_recv
            if self._size >= self._segment_bytes:
                self._end()
        except (OSError, PlatformError) as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        try:
            self._end()
        except (OSError, PlatformError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.failed = True
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
        self._log.error("frame recording ended: the disk failed", source=self._stem, error=str(error))

    def _begin(self) -> None:
        self._number += 1
        name = f"{self._stem}-{self._number:05d}.rec.gz"
        self._descriptor = self._store.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._gzip = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._size = 0
        self._kept.append((name, 0))

    def _put(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._size += len(data)

    def _end(self) -> None:
        if self._descriptor is None:
            return
        self._put(self._gzip.flush())
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)
        self._kept[-1] = (self._kept[-1][0], self._size)
        while len(self._kept) > 1 and sum(size for _, size in self._kept) > self._max_bytes:
            name, _ = self._kept.popleft()
            with suppress(FileNotFoundError):
                self._store.resolve(name).unlink()
            self.deleted_files += 1
