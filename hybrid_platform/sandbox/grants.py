"""Which files a guarded process may touch: what Python needs, the platform's code, the strategy's own.

in: paths of code and of what must stay private · out: `Grants`. Landlock knows no exceptions below a
grant, so a folder that holds something private is granted entry by entry, without it.
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
"""Shared libraries, time zones, and the number of cores that numerical libraries ask for."""


class Grants(msgspec.Struct, frozen=True):
    """Absolute paths without links. A directory stands for all beneath it; nothing may be executed."""

    read: tuple[str, ...]
    listing: tuple[str, ...] = ()
    """Directories whose names may be listed, as an import does; what is in the files stays closed."""
    write: tuple[str, ...] = ()


def build_grants(code: Sequence[Path], private: Sequence[Path] = (), write: Sequence[Path] = ()) -> Grants:
    """Return what a process needs to run Python, this package, and ``code`` (module files or packages).

    Nothing below a ``private`` path is granted. Raises ConfigError where code, Python's packages or a writable
    directory lie in a private one, or a folder of code has more than 10,000 entries beside the private path.
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
    read = _unique(entry for path in (*_python(), package, *own) for entry in _carved(path, closed))
    listing = _unique(path.parent for path in own)
    return Grants(read, listing, _unique(path.resolve() for path in write))


def _python() -> Iterator[Path]:
    """Yield the standard library, the installed packages and the system's part, links resolved."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in names]
    # A virtual environment's interpreter keeps its own library and shared objects in the base.
    paths += [str(Path(base) / "lib") for base in {sys.base_prefix, sys.base_exec_prefix}]
    paths += [entry for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]
    for path in (*paths, *SYSTEM):
        if Path(path).exists():
            yield Path(path).resolve()


def _carved(path: Path, closed: Sequence[Path]) -> Iterator[Path]:
    """Yield ``path`` itself, or, where it holds a closed path, the entries that do not."""
    if any(path.is_relative_to(secret) for secret in closed):
        return
    if not any(secret.is_relative_to(path) for secret in closed):
        yield path
        return
    for count, entry in enumerate(sorted(path.iterdir())):
        if count >= MAX_ENTRIES:
            raise ConfigError([Fault(str(path), f"at most {MAX_ENTRIES} entries beside private files", "more")])
        # Hidden entries (.env, .git, .netrc) are no code, and a link is judged by where it leads.
        if not entry.name.startswith(".") and not entry.is_symlink():
            yield from _carved(entry, closed)


def _unique(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, paths)))
