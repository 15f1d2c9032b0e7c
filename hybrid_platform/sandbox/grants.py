"""Files that a sandboxed process may access: Python's own, the platform's code and the strategy's code.

In: paths of code and of private files. Out: `Grants`. Landlock has no exceptions below a grant, so a directory that
contains a private path is granted entry by entry, without that path.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

import hybrid_platform
from hybrid_platform.domain.errors import ConfigError, Fault

MAX_ENTRIES = 10_000
SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/etc/ld.so.cache",
    "/etc/localtime", "/usr/share/zoneinfo", "/dev/null", "/dev/urandom", "/sys/devices/system/cpu",
)  # fmt: skip
"""Shared libraries, time zones, and the number of cores, which numerical libraries read."""


class Grants(msgspec.Struct, frozen=True):
    """Absolute paths without links. A directory includes everything below it; nothing may be executed."""

    read: tuple[str, ...]
    listing: tuple[str, ...] = ()
    """Directories whose entries may be listed, as an import does; the files in them stay closed."""
    write: tuple[str, ...] = ()


def build_grants(code: Sequence[Path], private: Sequence[Path] = (), write: Sequence[Path] = ()) -> Grants:
    """Return the access that a process needs to run Python, this package, and ``code`` (module files or packages).

    Nothing below a ``private`` path is granted. Raises ConfigError if code, Python's packages or a writable directory
    lie in a private path, or if a directory of code has more than 10,000 entries next to the private path.
    """
    closed = [path.resolve() for path in private]
    own = [path.resolve() for path in code]
    package = Path(hybrid_platform.__file__).parent.resolve()
    for path in (*own, package, Path(sysconfig.get_path("purelib")).resolve(), *(path.resolve() for path in write)):
        inside = next((secret for secret in closed if path.is_relative_to(secret)), None)
        if inside is not None:
            raise ConfigError(
                [Fault(str(path), f"a path outside {inside}, which stays closed to strategies", "inside")]
            )
    read = _unique(entry for path in (*_find_python(), package, *own) for entry in _exclude_closed(path, closed))
    listing = _unique(path.parent for path in own)
    return Grants(read, listing, _unique(path.resolve() for path in write))


def _find_python() -> Iterator[Path]:
    """Yield the standard library, the installed packages and the system's files, with links resolved."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in names]
    # The interpreter of a virtual environment keeps its library and shared objects in the base installation.
    paths += [str(Path(base) / "lib") for base in {sys.base_prefix, sys.base_exec_prefix}]
    paths += [entry for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]
    for path in (*paths, *SYSTEM):
        if Path(path).exists():
            yield Path(path).resolve()


def _exclude_closed(path: Path, closed: Sequence[Path]) -> Iterator[Path]:
    """Yield ``path`` itself or, if it contains a closed path, its entries without that path."""
    if any(path.is_relative_to(secret) for secret in closed):
        return
    if not any(secret.is_relative_to(path) for secret in closed):
        yield path
        return
    for count, entry in enumerate(sorted(path.iterdir())):
        if count >= MAX_ENTRIES:
            raise ConfigError([Fault(str(path), f"at most {MAX_ENTRIES} entries next to private files", "more")])
        # Hidden entries (.env, .git, .netrc) are not code, and a link may lead into a closed path.
        if not entry.name.startswith(".") and not entry.is_symlink():
            yield from _exclude_closed(entry, closed)


def _unique(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, paths)))
