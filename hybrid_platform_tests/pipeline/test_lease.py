"""The lease: one session at a time on one database, and nothing stays behind when its holder dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_platform.domain.errors import GateRefused, StorageError
from hybrid_platform.pipeline.lease import Lease, lease_path
from hybrid_platform.safety.paths import DataDir
from hybrid_platform.storage.engine import sqlite_url
from hybrid_platform_tests.support import environment

HOLDER = """
import sys, time
from pathlib import Path
from hybrid_platform.pipeline.lease import Lease
with Lease(Path(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    with Lease(path, "first"), pytest.raises(GateRefused, match="another session holds the lease") as refused:
        Lease(path, "second")
    assert '"session_id": "first"' in str(refused.value)
    assert refused.value.exit_code == 12
    Lease(path, "second").release()


def test_a_holder_that_is_killed_leaves_no_lease_behind(tmp_path: Path):
    path = tmp_path / "bot.db.lease"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(GateRefused, match=str(holder.pid)):
            Lease(path, "second")
        holder.kill()
        holder.wait()
    Lease(path, "second").release()


def test_the_lease_lies_beside_the_database_whoever_asks(tmp_path: Path):
    url = sqlite_url(tmp_path / "shared.db")
    places = {lease_path(DataDir(tmp_path / name), url) for name in ("one", "other")}
    assert places == {tmp_path.resolve() / "shared.db.lease"}


def test_a_link_in_the_leases_place_is_not_followed(tmp_path: Path):
    (tmp_path / "bot.db.lease").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="expected a lease file to lock"):
        Lease(tmp_path / "bot.db.lease", "first")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lease_may_be_released_twice(tmp_path: Path):
    lease = Lease(tmp_path / "bot.db.lease", "first")
    lease.release()
    lease.release()
    assert (tmp_path / "bot.db.lease").read_bytes() == b""
