"""Identity of the code that ran: digests of the platform's files and of a strategy's files, without importing them.

in: a folder, or a strategy's name · out: SHA-256 in hex over lines ``<sha256 of file>  <name>``, sorted by name.
Compiled caches are left out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from hybrid_platform.domain.errors import ConfigError, EvidenceError, Fault
from hybrid_platform.strategies.loader import resolve_strategy_path

PACKAGE = "hybrid_platform"
MAX_FILES = 20_000
_NOT_CODE = {"__pycache__", ".git"}


def tree_sha256(folder: Path) -> str:
    """Return the digest of all files below a folder; raise EvidenceError for more than 20,000 files."""
    total = hashlib.sha256()
    for count, (name, path) in enumerate(sorted(_files(folder))):
        if count >= MAX_FILES:
            raise EvidenceError(f"{folder}: expected at most {MAX_FILES} files of code, got more")
        total.update(f"{file_sha256(path)}  {name}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_package(folder: Path) -> Path:
    """Return the package directory in a checkout, or the folder itself if it is the package; else raise ConfigError."""
    for found in (folder / PACKAGE, folder):
        if (found / "__init__.py").is_file() and found.name == PACKAGE:
            return found
    raise ConfigError([Fault("--code", f"a directory that holds the package {PACKAGE}", repr(str(folder)))])


def strategy_sha256(name: str) -> str | None:
    """Return the digest of a strategy's code, or None if its code cannot be found.

    For a strategy that ships with the platform (whose own digest covers the rest) or that is a single module, this is
    the digest of its file; otherwise it is the digest of the whole package that contains the strategy.
    """
    top, _, rest = resolve_strategy_path(name).partition(":")[0].partition(".")
    try:
        spec = importlib.util.find_spec(top)  # finding the top of a path imports nothing
    except (ImportError, ValueError):
        return None
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    if len(folders) == 1 and top != PACKAGE:
        return tree_sha256(folders[0])
    alone = Path((spec and spec.origin) or "")
    path = folders[0].joinpath(*rest.split(".")).with_suffix(".py") if folders else alone
    return file_sha256(path) if path.is_file() else None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for where, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if name not in _NOT_CODE]
        for name in names:
            path = Path(where, name)
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path
