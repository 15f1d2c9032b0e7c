"""What the host and the code are at this moment: evidence, before and after a session.

in: ``/proc``, the file system, the package's own checkout · out: a `SystemState`. Nothing here
raises: what the host does not say is None. Runs git once; not for loops (``read_uptime`` is).
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
GIT_SECONDS = 5.0
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def read_system_state(clock: Clock, data_dir: Path, proc: Path = PROC, checkout: Path | None = None) -> SystemState:
    """Return the state of the host and of the code; ``checkout`` is the package's own unless it is given."""
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
    """Return what may still be written below ``path``, or below the nearest directory above it that exists."""
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
    """Return the directory that holds the package: its checkout, or where it was installed."""
    return Path(hybrid_platform.__file__).resolve().parents[1]


def read_git(checkout: Path) -> tuple[str | None, bool | None]:
    """Return a checkout's commit and whether it differs from it; (None, None) where it is no checkout.

    Only ``.git`` of that very directory counts: an installed package is not part of whatever
    checkout its virtual environment lies in. Where git itself is missing, hangs or refuses, the
    commit is read from its files, and dirty is None.
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
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return _commit_from_files(checkout / ".git"), None
    lines = done.stdout.decode(errors="replace").splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "")
    return commit if _COMMIT.fullmatch(commit) else None, any(not line.startswith("#") for line in lines)


def _commit_from_files(git: Path) -> str | None:
    if git.is_file():  # a worktree: the file says where its own .git is
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
    """Return the lines of meminfo, in bytes."""
    found = re.findall(r"^(\w+):\s+(\d+) kB$", _read_text(proc / "meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in found}


def _read_text(path: Path) -> str | None:
    """Return a small file's text, or None."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None
