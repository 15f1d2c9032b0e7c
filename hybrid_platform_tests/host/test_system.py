"""State of host and code, from real files and a real git checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import hybrid_platform
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.host.system import disk_free_bytes, read_git, read_system_state, read_uptime

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(checkout: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=checkout, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("1\n")
    git(folder, "add", "code.py")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_state_of_this_host_is_complete(tmp_path: Path) -> None:
    before = time.time_ns()
    state = read_system_state(SystemClock(), tmp_path / "not" / "there" / "yet")
    assert before <= state.ts <= time.time_ns()
    assert state.hostname == os.uname().nodename
    assert state.cores >= 1
    assert state.package_version == hybrid_platform.__version__
    assert state.disk_free_bytes is not None
    if Path("/proc/meminfo").exists():
        assert state.uptime_s is not None
        assert state.boot_id is not None
        assert state.memory_total_bytes is not None
        assert state.memory_available_bytes is not None
        assert 0 < state.memory_available_bytes <= state.memory_total_bytes


def test_without_proc_the_values_are_none(tmp_path: Path) -> None:
    state = read_system_state(SystemClock(), tmp_path, proc=tmp_path, checkout=tmp_path)
    assert (state.uptime_s, state.boot_id, state.memory_total_bytes, state.git_commit) == (None, None, None, None)


@pytest.mark.parametrize("text", ["", "soon", "\x00", " "])
def test_an_uptime_that_is_not_a_number_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "uptime").write_text(text)
    assert read_uptime(tmp_path) is None


@needs_git
def test_a_changed_or_extended_checkout_is_dirty(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert read_git(checkout) == (commit, False)
    (checkout / "new.py").write_text("2\n")
    assert read_git(checkout) == (commit, True)
    (checkout / "new.py").unlink()
    (checkout / "code.py").write_text("3\n")
    assert read_git(checkout) == (commit, True)


@needs_git
def test_a_package_installed_inside_another_checkout_has_no_commit(checkout: Path) -> None:
    site_packages = checkout / ".venv" / "site-packages"
    site_packages.mkdir(parents=True)
    assert read_git(site_packages) == (None, None)


@needs_git
def test_git_hook_variables_are_ignored(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert read_git(checkout)[1] is False


@needs_git
@pytest.mark.parametrize("stored", ["loose", "packed", "detached", "worktree"])
def test_without_the_git_command_the_commit_is_read_from_files(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: str
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    if stored == "packed":
        git(checkout, "pack-refs", "--all")
    elif stored == "detached":
        git(checkout, "checkout", "-q", "--detach")
    elif stored == "worktree":
        git(checkout, "worktree", "add", "-q", str(tmp_path / "tree"))
        checkout = tmp_path / "tree"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_git(checkout) == (commit, None)


def test_a_broken_checkout_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert read_git(tmp_path) == (None, None)


@needs_git
def test_a_checkout_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert read_git(tmp_path)[0] is None


@needs_git
def test_a_hanging_git_times_out(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    slow = tmp_path / "git"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    slow.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_git(checkout, timeout_seconds=0.2) == (commit, None)


def test_free_disk_space_is_of_the_nearest_existing_directory(tmp_path: Path) -> None:
    here, below = disk_free_bytes(tmp_path), disk_free_bytes(tmp_path / "a" / "b")
    assert here is not None
    assert below is not None
    assert below > 0
