"""From the paths that a user names to the sources behind them: files, matches of patterns, members of zips.

in: paths · out: `Source` objects that can be read any number of times, or one ConfigError naming every
path that is no regular, readable file. What a file is, its first bytes say, not its name.
"""

from __future__ import annotations

import glob
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Literal

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.feeds.files.inflate import SourceError, gunzip, plain, unzip
from hybrid_platform.settings.base import shown

MAX_SOURCES = 10_000
PATH_SETTING = "feed.replay.path"
_UNREADABLE = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard", b"\x04\x22\x4d\x18": "lz4"}
_TEXT_NAMES = (".csv", ".jsonl", ".ndjson", ".json", ".txt")
Container = Literal["plain", "gzip", "zip", "parquet", "damaged"]


@dataclass(frozen=True)
class Source:
    """One thing to read rows from."""

    path: str
    container: Container
    member: zipfile.ZipInfo | None = None

    @property
    def full_name(self) -> str:
        """The path, and the zip's member behind it."""
        return self.path if self.member is None else f"{self.path}/{self.member.filename}"

    @property
    def label(self) -> str:
        """The file's name for messages, printable."""
        name = Path(self.path).name
        name = name if self.member is None else f"{name}/{self.member.filename}"
        return name.encode("unicode_escape").decode("ascii")[:200]

    def open(self) -> FileIO:
        """Open the file itself; raise SourceError where it is gone meanwhile."""
        try:
            return open_regular(self.path)
        except ConfigError as error:
            raise SourceError(f"could not be opened any more: {error}") from None

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes, decompressed, in pieces of bounded size; raise SourceError where it breaks off."""
        if self.container == "damaged":
            raise SourceError("is truncated: it begins like a zip or Parquet file and its directory is missing")
        with self.open() as file:
            try:
                if self.member is not None:
                    yield from unzip(file, self.member)
                else:
                    yield from gunzip(file) if self.container == "gzip" else plain(file)
            except OSError as error:
                raise SourceError(f"could not be read to its end: {error.strerror or error}") from None


def open_regular(path: str) -> FileIO:
    """Open a regular file for reading, without waiting on a FIFO; raise ConfigError for anything else."""
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
    """Return the sources behind paths and patterns, in their order; raise ConfigError with every fault."""
    found: list[Source] = []
    faults: list[Fault] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            for match in _matches(path):
                with open_regular(match) as file:
                    status = os.fstat(file.fileno())
                    if (status.st_dev, status.st_ino) in seen:
                        raise _fault("each file once", f"{shown(match)} again")
                    seen.add((status.st_dev, status.st_ino))
                    found.extend(_sources_in(match, file))
                if len(found) > MAX_SOURCES:
                    raise _fault(f"at most {MAX_SOURCES} files", f"more, at {shown(path)}")
        except ConfigError as error:
            faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)
    return found


def _matches(path: str) -> list[str]:
    if not glob.has_magic(path) or os.path.lexists(path):
        return [path]
    matches = sorted(islice(glob.iglob(path, recursive=True), MAX_SOURCES + 1))  # noqa: PTH207
    if not matches:
        raise _fault("a pattern that matches a file", f"no match: {shown(path)}")
    return matches


def _sources_in(path: str, file: FileIO) -> list[Source]:
    head = file.read(8)
    for magic, name in _UNREADABLE.items():
        if head.startswith(magic):
            raise _fault("CSV, JSONL (plain, gzip or zip) or Parquet", f"{name}: {shown(path)}")
    if head.startswith(b"PAR1"):
        file.seek(-4, os.SEEK_END)
        return [Source(path, "parquet" if file.read(4) == b"PAR1" and head[4:] else "damaged")]
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _members(path, file)
    return [Source(path, "gzip" if head.startswith(b"\x1f\x8b") else "plain")]


def _members(path: str, file: FileIO) -> list[Source]:
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


def _fault(expected: str, was: str) -> ConfigError:
    return ConfigError([Fault(PATH_SETTING, expected, was)])
