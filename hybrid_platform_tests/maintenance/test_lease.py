"""The lease: one session at a time on one database, and none left after its holder is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from hybrid_platform.domain.errors import ConfigError, GateRefused
from hybrid_platform.host.process import ProcessIdentity, this_process
from hybrid_platform.maintenance.lease import Lease, LeaseHeld, LeaseHolder, LeaseLost, lease_path, read_holder
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform_tests.support import child_environment

HOLDER = """
import sys, time
from pathlib import Path
from hybrid_platform.maintenance.lease import Lease
with Lease(Path(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(600)
"""
ELSEWHERE = ProcessIdentity(pid=4711, host="the-other-host", boot_id="another-boot", pid_started=1)


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    with Lease(path, "first"), pytest.raises(GateRefused, match="another session holds the lease") as refused:
        Lease(path, "second")
    assert f"session first (process {os.getpid()} on " in str(refused.value)
    assert refused.value.exit_code == 12
    Lease(path, "second").release()


def test_a_killed_holder_leaves_no_lease_behind(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, env=child_environment(tmp_path), stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(GateRefused, match=str(holder.pid)):
            Lease(path, "second")
        holder.kill()
        assert _is_seen_gone(path), "also before anybody has waited for it"
        holder.wait()
    lease = Lease(path, "second")
    assert lease.taken_from is None
    lease.release()


def _is_seen_gone(path: Path) -> bool:
    holder = read_holder(path)
    assert holder is not None
    return any(holder.owner.is_gone or threading.Event().wait(0.01) for _ in range(500))


def test_the_lease_lies_next_to_the_database(tmp_path: Path):
    url = sqlite_url(tmp_path / "shared.db")
    places = {lease_path(url)}
    assert places == {tmp_path.resolve() / "shared.db.lease"}


def test_every_spelling_of_a_database_path_has_the_same_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = tmp_path / "real" / "data"
    real.mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    urls = [
        sqlite_url(real / "bot.db"),
        sqlite_url("real/data/bot.db"),
        sqlite_url("./real//data/./bot.db"),
        sqlite_url("linked/data/bot.db"),
        f"sqlite:///{tmp_path}/real/data/bot%2Edb",
        f"sqlite:////{tmp_path}/real/data/bot.db",
        "sqlite:///real/data/bot.db",
        f"sqlite+pysqlite:///{tmp_path}/real/data/bot.db",
    ]
    assert {lease_path(url) for url in urls} == {real / "bot.db.lease"}


@pytest.mark.parametrize("link", ["symbolic", "hard", "directory"])
def test_a_link_to_a_database_is_refused_a_second_lease(tmp_path: Path, link: str):
    real = tmp_path / "real"
    real.mkdir()
    (real / "bot.db").touch()
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "bot.db"
    if link == "symbolic":
        other.symlink_to(real / "bot.db")
    elif link == "hard":
        other.hardlink_to(real / "bot.db")
    else:
        other = tmp_path / "alias" / "bot.db"
        other.parent.symlink_to(real)
    with pytest.raises(ConfigError, match="link"):
        lease_path(sqlite_url(other))


def test_a_link_at_the_leases_path_is_not_followed(tmp_path: Path):
    (tmp_path / "bot.db.lease").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="expected a plain file to lock as lease, got a symbolic link"):
        Lease(tmp_path / "bot.db.lease", "first")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lease_may_be_released_twice(tmp_path: Path):
    lease = Lease(tmp_path / "bot.db.lease", "first")
    lease.release()
    lease.release()
    assert (tmp_path / "bot.db.lease").read_bytes() == b""


# A holder on another host, whose lock this kernel cannot see


def claim(path: Path, owner: ProcessIdentity = ELSEWHERE, beat: int = 1) -> None:
    path.write_bytes(msgspec.json.encode(LeaseHolder("first", owner, beat)).ljust(511) + b"\n")


def test_a_holder_of_another_host_is_respected_while_it_beats(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    claim(path)
    beating = threading.Timer(0.2, claim, (path, ELSEWHERE, 2))
    beating.start()
    with pytest.raises(LeaseHeld, match=r"session first .process 4711 on the-other-host., which is alive"):
        Lease(path, "second", watch_seconds=20)
    beating.join()
    assert read_holder(path) == LeaseHolder("first", ELSEWHERE, 2), "the holder's record is unchanged"


def test_a_lease_of_another_host_without_beats_is_taken_over(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    claim(path)
    with Lease(path, "second", watch_seconds=0.01) as lease:
        assert lease.taken_from == LeaseHolder("first", ELSEWHERE, 1)
        lease.beat()
        assert read_holder(path) == LeaseHolder("second", this_process(), 1)


def test_hosts_of_the_same_name_are_distinguished_by_boot_id(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    claim(path, msgspec.structs.replace(this_process(), boot_id="another-boot"))
    with Lease(path, "second", watch_seconds=0.01) as lease:
        assert lease.taken_from is not None


def test_a_holder_detects_a_removed_or_stolen_lease(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    with Lease(path, "first") as lease:
        lease.beat()
        claim(path)
        with pytest.raises(
            LeaseLost, match=r"expected this session to hold the lease, got session first .process 4711"
        ):
            lease.beat()
        path.unlink()
        with pytest.raises(LeaseLost, match="was the file removed"):
            lease.beat()


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b'{"session_id": 3}', b"\xff\xfe", b"[" * 4000])
def test_an_unreadable_lease_file_can_be_taken(tmp_path: Path, content: bytes):
    path = tmp_path / "bot.db.lease"
    path.write_bytes(content)
    assert read_holder(path) is None
    with Lease(path, "second"):
        assert read_holder(path) == LeaseHolder("second", this_process(), 0)
