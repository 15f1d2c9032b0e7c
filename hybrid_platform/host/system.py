"""State of the host and of the code, recorded as evidence before and after a session.

in: ``/proc``, the file system, the package's checkout · out: a `SystemState`. Nothing here raises: an unknown value
is None. `read_system_state` runs git, so it is too slow for loops; `read_uptime` is not.
"""

from __future__ import annotations

import os
import re
import subprocess  # noqa: S404, RUF100
import sys
from pathlib import Path

import hybrid_platform
from hybrid_platform.domain.clocks import Clock
from hybrid_platform.domain.records import SystemState
from hybrid_platform.host.clock_sync import read_clock_sync
from hybrid_platform.host.pressure import read_load

PROC = Path("/proc")
GIT_TIMEOUT_SECONDS = 5.0
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read_system_state(clock: Clock, data_dir: Path, proc: Path = PROC, checkout: Path | None = None) -> SystemState:
    """Return the state of the host and of the code; ``checkout`` defaults to the package's own."""
    uname = os.uname()
    commit, dirty = read_git(checkout or package_root())
    memory = _read_memory(proc)
    return SystemState(
        ts=clock.wall_ns(),
        hostname=uname.nodename,
        kernel=f"{uname.sysname} {uname.release} {uname.machine}",
        python=sys.version.split()[0],
        cores=os.cpu_count() or 1,
        load=read_load(),
        uptime_s=read_uptime(proc),
        boot_id=_read_text(proc / "sys/kernel/random/boot_id"),
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        disk_free_bytes=disk_free_bytes(data_dir),
        package_version=hybrid_platform.__version__,
        git_commit=commit,
        git_dirty=dirty,
        clock=read_clock_sync(),
    )


def read_uptime(proc: Path = PROC) -> float | None:
    """Return the seconds since boot."""
    try:
        return float((_read_text(proc / "uptime") or "").split()[0])
    except (ValueError, IndexError):
        return None


def disk_free_bytes(path: Path) -> int | None:
    """Return the free disk space for ``path``, or for its nearest existing parent directory."""
    for existing in (path, *path.absolute().parents):
        try:
            status = os.statvfs(existing)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return status.f_bavail * status.f_frsize
    return None


def package_root() -> Path:
    """Return the directory that contains the package: its checkout, or the place of its installation."""
    return Path(hybrid_platform.__file__).resolve().parents[1]


def read_git(checkout: Path, timeout_seconds: float = GIT_TIMEOUT_SECONDS) -> tuple[str | None, bool | None]:
    """Return a checkout's commit and whether files differ from it, or (None, None) without a checkout.

    Only ``.git`` in ``checkout`` itself counts: an installed package does not belong to the checkout that contains
    its virtual environment. If git is missing, hangs or refuses, the commit is read from the files and dirty is None.
    """
    if not (checkout / ".git").exists():
        return None, None
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env=clean | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return _commit_from_files(checkout / ".git"), None
    lines = done.stdout.decode(errors="replace").splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "")
    return commit if _COMMIT.fullmatch(commit) else None, any(not line.startswith("#") for line in lines)


def _commit_from_files(git: Path) -> str | None:
    if git.is_file():  # a worktree: the file contains the path of its .git directory
        git = git.parent / (_read_text(git) or "").removeprefix("gitdir:").strip()
    common = git / (_read_text(git / "commondir") or ".")
    head = _read_text(git / "HEAD") or ""
    if not head.startswith("ref:"):
        return head if _COMMIT.fullmatch(head) else None
    name = head.removeprefix("ref:").strip()
    packed = {
        line[41:]: line[:40]
        for line in (_read_text(common / "packed-refs") or "").splitlines()
        if _COMMIT.fullmatch(line[:40])
    }
    commit = _read_text(git / name) or _read_text(common / name) or packed.get(name, "")
    return commit if _COMMIT.fullmatch(commit) else None


def _read_memory(proc: Path) -> dict[str, int]:
    """Return the values of meminfo in bytes."""
    found = re.findall(r"^(\w+):\s+(\d+) kB$", _read_text(proc / "meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in found}


def _read_text(path: Path) -> str | None:
    """Return a small file's text, or None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None
