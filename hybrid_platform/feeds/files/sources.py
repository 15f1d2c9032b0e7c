"""Sources of rows: files, files that match a pattern, and members of zips, decompressed in bounded memory.

in: paths · out: `Source` objects that can be read any number of times, or one ConfigError that names every path which
is not a regular, readable file. The first bytes of a file decide its type, not its name. Reading keeps everything
before a damaged place: the standard readers discard data that they hold when they find damage.
"""

from __future__ import annotations

import glob
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Literal, cast

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.settings.base import shown

MAX_SOURCES = 10_000
MAX_CHUNK = 1 << 20
"""Largest chunk of text that is passed on, however well it was compressed."""
PATH_SETTING = "feed.replay.path"
_FIRST_CHUNK = 1 << 16
"""The first chunks are small, so that reading only the beginning of a file costs little."""
_READ_SIZE = 1 << 17
_GZIP_MAGIC = b"\x1f\x8b"
_RAW_DEFLATE_WBITS, _GZIP_WBITS = -15, 31
_UNREADABLE = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard", b"\x04\x22\x4d\x18": "lz4"}
_TEXT_NAMES = (".csv", ".jsonl", ".ndjson", ".json", ".txt")

Container = Literal["plain", "gzip", "zip", "parquet", "damaged"]
Read = Callable[[int], bytes]
"""Reads up to the given number of bytes; an empty result is the end."""


class SourceError(Exception):
    """A source that cannot be read any further; the message completes ``<file> …``."""


@dataclass(frozen=True)
class Source:
    """A file, or a member of a zip, to read rows from."""

    path: str
    container: Container
    member: zipfile.ZipInfo | None = None

    @property
    def full_name(self) -> str:
        """The path, followed by the name of the zip's member."""
        return self.path if self.member is None else f"{self.path}/{self.member.filename}"

    @property
    def label(self) -> str:
        """The file's name for messages, printable."""
        name = Path(self.path).name
        name = name if self.member is None else f"{name}/{self.member.filename}"
        return name.encode("unicode_escape").decode("ascii")[:200]

    def open(self) -> FileIO:
        """Open the file itself; raise SourceError if it has disappeared meanwhile."""
        try:
            return open_regular(self.path)
        except ConfigError as error:
            raise SourceError(f"could not be opened any more: {error}") from None

    def chunks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes in chunks of bounded size; raise SourceError if the data is damaged."""
        if self.container == "damaged":
            raise SourceError("is truncated: it begins like a zip or Parquet file and its directory is missing")
        with self.open() as file:
            try:
                if self.member is not None:
                    yield from _unzip(file, self.member)
                elif self.container == "gzip":
                    yield from _gunzip(file.read)
                else:
                    yield from _read_chunks(file.read)
            except OSError as error:
                raise SourceError(f"could not be read to its end: {error.strerror or error}") from None


def _read_chunks(read: Read) -> Iterator[bytes]:
    size = _FIRST_CHUNK
    while chunk := read(size):
        yield chunk
        size = min(2 * size, MAX_CHUNK)


def _gunzip(read: Read) -> Iterator[bytes]:
    """Yield the chunks of all members of a gzip file."""
    rest = read(_READ_SIZE)
    while rest:
        if rest[0] == 0:  # padding between or after members
            rest = rest.lstrip(b"\0") or read(_READ_SIZE)
        elif not _GZIP_MAGIC.startswith(rest[:2]):
            raise SourceError("has something that is not gzip after its gzip data")
        else:
            rest = (yield from _inflate(rest, read, _GZIP_WBITS)) or read(_READ_SIZE)


def _unzip(file: FileIO, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the chunks of one member of a zip file, stored or deflated, and check its checksum."""
    raw = copy(member)
    # Opened as a stored member without a checksum, `zipfile` returns the compressed bytes. Its own decompression
    # would discard the last rows before a damaged place.
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, raw.compress_size
    del raw.CRC
    try:
        with zipfile.ZipFile(file) as archive, cast(zipfile.ZipExtFile, archive.open(raw)) as stream:

            def read(count: int) -> bytes:
                try:
                    return stream.read1(count)
                except EOFError:
                    return b""

            stored = member.compress_type == zipfile.ZIP_STORED
            checksum = 0
            for chunk in _read_chunks(read) if stored else _inflate(b"", read, _RAW_DEFLATE_WBITS):
                checksum = zlib.crc32(chunk, checksum)
                yield chunk
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise SourceError(f"is damaged: {error}") from None
    if checksum != member.CRC:
        raise SourceError("is damaged: its zip checksum is wrong")


def _inflate(data: bytes, read: Read, wbits: int) -> Generator[bytes, None, bytes]:
    """Yield the chunks of one deflate stream that begins with ``data``; return the bytes read beyond its end."""
    stream = zlib.decompressobj(wbits)
    size = _FIRST_CHUNK
    while not stream.eof:
        before = stream.copy()
        try:
            chunk = stream.decompress(data, size)
        except zlib.error as error:
            yield _salvage(before, data)
            raise SourceError(f"is damaged: {error}") from None
        data = stream.unconsumed_tail
        if chunk:
            yield chunk
            size = min(2 * size, MAX_CHUNK)
        elif not stream.eof and not data:
            data = read(_READ_SIZE)
            if not data:
                raise SourceError("is truncated: it ends in the middle of its compressed data")
    return stream.unused_data


def _salvage(stream: zlib._Decompress, data: bytes) -> bytes:
    """Return the output before a damaged place; zlib returns nothing from the call that finds the damage."""
    parts = []
    with suppress(zlib.error):
        for position in range(len(data)):
            parts.append(stream.decompress(data[position : position + 1]))
    return b"".join(parts)


def open_regular(path: str) -> FileIO:
    """Open a regular file for reading; raise ConfigError for anything else, without blocking on a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise _fault("an existing file", f"no such file: {shown(path)}") from None
    except (OSError, ValueError) as error:
        raise _fault("a readable file", f"{getattr(error, 'strerror', None) or error}: {shown(path)}") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return FileIO(descriptor, "rb")
    os.close(descriptor)
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    raise _fault("a regular file", f"{kinds.get(stat.S_IFMT(mode), 'something else')}: {shown(path)}")


def find_sources(paths: Sequence[str]) -> list[Source]:
    """Return the sources of paths and patterns, in their order; raise ConfigError with every fault."""
    found: list[Source] = []
    faults: list[Fault] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            for match in _expand_pattern(path):
                with open_regular(match) as file:
                    status = os.fstat(file.fileno())
                    if (status.st_dev, status.st_ino) in seen:
                        raise _fault("each file once", f"{shown(match)} again")
                    seen.add((status.st_dev, status.st_ino))
                    found.extend(_find_sources_in(match, file))
                if len(found) > MAX_SOURCES:
                    raise _fault(f"at most {MAX_SOURCES} files", f"more, at {shown(path)}")
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)
    return found


def _expand_pattern(path: str) -> list[str]:
    if not glob.has_magic(path) or os.path.lexists(path):
        return [path]
    matches = sorted(islice(glob.iglob(path, recursive=True), MAX_SOURCES + 1))  # noqa: PTH207
    if not matches:
        raise _fault("a pattern that matches a file", f"no match: {shown(path)}")
    return matches


def _find_sources_in(path: str, file: FileIO) -> list[Source]:
    head = file.read(8)
    for magic, name in _UNREADABLE.items():
        if head.startswith(magic):
            raise _fault("CSV, JSONL (plain, gzip or zip) or Parquet", f"{name}: {shown(path)}")
    if head.startswith(b"PAR1"):
        file.seek(-4, os.SEEK_END)
        return [Source(path, "parquet" if file.read(4) == b"PAR1" and head[4:] else "damaged")]
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _find_members(path, file)
    return [Source(path, "gzip" if head.startswith(b"\x1f\x8b") else "plain")]


def _find_members(path: str, file: FileIO) -> list[Source]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [item for item in archive.infolist() if item.filename.lower().endswith(_TEXT_NAMES)]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return [Source(path, "damaged")]
    members = [item for item in members if not item.filename.startswith("__MACOSX/")]
    if not members:
        raise _fault("a zip with a CSV or JSONL member", f"none: {shown(path)}")
    for item in members:
        if item.flag_bits & 1 or item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _fault("stored or deflated zip members", f"{shown(item.filename)} in {shown(path)}")
    return [Source(path, "zip", item) for item in members]


def _fault(expected: str, got: str) -> ConfigError:
    return ConfigError([Fault(PATH_SETTING, expected, got)])
