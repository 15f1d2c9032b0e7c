"""Decompress gzip and zip members piece by piece: bounded memory, and nothing lost where a stream ends early.

in: a binary file · out: pieces of at most `PIECE` bytes, then `SourceError` where the rest cannot be had.
The standard readers throw away what they hold when they meet a broken stream; rows before it count.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from io import RawIOBase
from zipfile import ZIP_STORED, ZipInfo

PIECE = 1 << 20
"""Largest piece of text handed on, however well it was compressed."""
_FIRST = 1 << 16
"""Pieces begin small, so that looking at a file's beginning costs little."""
_READ = 1 << 17
_GZIP_MAGIC = b"\x1f\x8b"
_RAW_DEFLATE, _GZIP = -15, 31

Read = Callable[[int], bytes]


class SourceError(Exception):
    """The source cannot be read any further; the message completes ``<file> …``."""


def plain(file: RawIOBase) -> Iterator[bytes]:
    """Yield an uncompressed file's pieces."""
    yield from _stored(_bounded(file, None))


def gunzip(file: RawIOBase) -> Iterator[bytes]:
    """Yield the pieces of a gzip file, all its members."""
    read = _bounded(file, None)
    rest = read(_READ)
    while rest:
        if rest[0] == 0:  # padding between or after members
            rest = rest.lstrip(b"\0") or read(_READ)
        elif not _GZIP_MAGIC.startswith(rest[:2]):
            raise SourceError("has something that is not gzip after its gzip data")
        else:
            rest = (yield from _inflate(rest, read, _GZIP)) or read(_READ)


def unzip(file: RawIOBase, member: ZipInfo) -> Iterator[bytes]:
    """Yield the pieces of one member of a zip file, stored or deflated; its checksum is held against it."""
    file.seek(member.header_offset)
    header = _bounded(file, 30)(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise SourceError("has a zip member that does not begin where its directory says")
    name_bytes, extra_bytes = struct.unpack_from("<HH", header, 26)
    file.seek(name_bytes + extra_bytes, 1)
    read = _bounded(file, member.compress_size)
    checksum = 0
    for piece in _stored(read) if member.compress_type == ZIP_STORED else _inflate(b"", read, _RAW_DEFLATE):
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if checksum != member.CRC:
        raise SourceError("is damaged: its zip checksum is wrong")


def _bounded(file: RawIOBase, size: int | None) -> Read:
    """Return a reader of at most ``size`` bytes from where the file stands (None: to its end)."""
    left = size

    def read(count: int) -> bytes:
        nonlocal left
        data = file.read(count if left is None else min(count, left)) or b""
        left = None if left is None else left - len(data)
        return data

    return read


def _stored(read: Read) -> Iterator[bytes]:
    size = _FIRST
    while piece := read(size):
        yield piece
        size = min(2 * size, PIECE)


def _inflate(data: bytes, read: Read, wbits: int) -> Generator[bytes, None, bytes]:
    """Yield one deflate stream that begins with ``data``; return what was read beyond its end."""
    stream = zlib.decompressobj(wbits)
    size = _FIRST
    while not stream.eof:
        before = stream.copy()
        try:
            piece = stream.decompress(data, size)
        except zlib.error as error:
            yield _salvaged(before, data)
            raise SourceError(f"is damaged: {error}") from None
        data = stream.unconsumed_tail
        if piece:
            yield piece
            size = min(2 * size, PIECE)
        elif not stream.eof and not data:
            data = read(_READ)
            if not data:
                raise SourceError("is truncated: it ends in the middle of its compressed data")
    return stream.unused_data


def _salvaged(stream: zlib._Decompress, data: bytes) -> bytes:
    """Return what comes out before the broken place; zlib hands out nothing from the call that meets it."""
    pieces = []
    with suppress(zlib.error):
        for at in range(len(data)):
            pieces.append(stream.decompress(data[at : at + 1]))
    return b"".join(pieces)
