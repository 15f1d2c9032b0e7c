"""Tests of the data directory with bad paths from docs/bad-inputs.md, on real files."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.errors import ConfigError, ExitCode, StorageError
from hybrid_platform.security.paths import DataDir, UnsafePathError, check_input_file, check_output_file

BAD_NAMES = [
    "../x",
    "../../etc/passwd",
    "logs/../../x",
    "a/..",
    "..",
    "/etc/passwd",
    "/",
    "",
    ".",
    "./",
    ":memory:",
    "file:x?mode=rwc&vfs=unix-none",
    "FILE:/tmp/x",
    "a\x00b",
    "a\nb",
    "a\rb",
    "a\x1b[31mb",
    "a\u202eb",
    "a\ud800b",
    "n" * 4096,
    "n" * 256,
    "é" * 128,
    "/".join(["deep"] * 300),
]
Write = Callable[[DataDir, str], object]
WRITES: dict[str, Write] = {
    "write_atomic": lambda data, name: data.write_atomic(name, b"new"),
    "append": lambda data, name: data.append(name, b"new"),
    "create_file": lambda data, name: data.create_file(name),
    "open": lambda data, name: os.close(data.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory next to the root, with a file that must not change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "victim").write_bytes(b"precious")
    return folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nothing_is_created_before_the_first_write(tmp_path: Path) -> None:
    assert DataDir(tmp_path / "data").resolve("a/b") == tmp_path / "data" / "a" / "b"
    assert list(tmp_path.iterdir()) == []


@every_write
def test_files_and_directories_are_private_under_any_umask(data: DataDir, write: Write) -> None:
    old = os.umask(0)
    try:
        write(data, "a/b/file")
    finally:
        os.umask(old)
    file = data.root / "a" / "b" / "file"
    assert [mode(path) for path in (data.root, file.parent.parent, file.parent, file)] == [0o700, 0o700, 0o700, 0o600]


@every_write
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: ascii(name)[:30])
def test_a_bad_name_is_refused_and_writes_nothing(tmp_path: Path, data: DataDir, write: Write, name: str) -> None:
    with pytest.raises(UnsafePathError, match=r"expected .*, got ") as refused:
        write(data, name)
    assert refused.value.exit_code is ExitCode.CONFIG
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500
    assert not data.root.exists() or list(data.root.rglob("*")) == []


def test_absolute_and_relative_names_are_equivalent(data: DataDir) -> None:
    data.write_atomic(data.root / "a" / "b", b"1")
    assert data.read_bytes("a/b") == b"1"


@every_write
@pytest.mark.parametrize("name", ["link", "folder/victim", "dangling", "dangling_folder/x", "loop", "in/link"])
def test_no_link_is_followed(data: DataDir, outside: Path, write: Write, name: str) -> None:
    root = data.make_dir("in").parent
    (root / "link").symlink_to(outside / "victim")
    (root / "in" / "link").symlink_to(outside / "victim")
    (root / "folder").symlink_to(outside)
    (root / "dangling").symlink_to(outside / "made")
    (root / "dangling_folder").symlink_to(outside / "made_folder")
    (root / "loop").symlink_to("loop")
    with pytest.raises(UnsafePathError):
        write(data, name)
    with pytest.raises(UnsafePathError):
        data.resolve(name)
    with pytest.raises(UnsafePathError):
        data.read_bytes(name)
    assert [path.name for path in outside.iterdir()] == ["victim"]
    assert (outside / "victim").read_bytes() == b"precious"


@every_write
def test_a_link_inside_the_root_is_refused_too(data: DataDir, write: Write) -> None:
    data.write_atomic("real", b"1")
    (data.root / "link").symlink_to("real")
    with pytest.raises(UnsafePathError):
        write(data, "link")
    assert data.read_bytes("real") == b"1"


@every_write
def test_a_hard_link_is_refused(data: DataDir, outside: Path, write: Write) -> None:
    data.make_dir("in")
    os.link(outside / "victim", data.root / "in" / "twin")
    with pytest.raises(UnsafePathError, match="hard link, 2 names"):
        write(data, "in/twin")
    assert (outside / "victim").read_bytes() == b"precious"


@every_write
@pytest.mark.parametrize("kind", ["directory", "fifo", "socket"])
def test_special_files_are_refused_without_hanging(
    data: DataDir, write: Write, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.make_dir("in"))  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as server:
        {"directory": os.mkdir, "fifo": os.mkfifo, "socket": server.bind}[kind]("thing")  # type: ignore[operator]
        with pytest.raises(UnsafePathError):
            write(data, "in/thing")


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes devices")
@every_write
def test_a_device_is_refused(data: DataDir, write: Write) -> None:
    data.make_dir("in")
    try:
        os.mknod(data.root / "in" / "full", 0o20600, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("devices may not be made here")
    with pytest.raises(UnsafePathError):
        write(data, "in/full")


@every_write
def test_a_file_in_place_of_a_directory_is_refused(data: DataDir, write: Write) -> None:
    data.write_atomic("a", b"1")
    with pytest.raises(UnsafePathError):
        write(data, "a/b")


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "fifo"])
def test_a_root_that_is_not_a_directory_is_refused(tmp_path: Path, outside: Path, kind: str) -> None:
    root = tmp_path / "data"
    if kind == "file":
        root.write_text("")
    elif kind == "fifo":
        os.mkfifo(root)
    else:
        root.symlink_to(outside if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(UnsafePathError, match="expected a directory, got"):
        DataDir(root)


@pytest.mark.parametrize("root", ["", ":memory:", "file:data?mode=rwc", "a\x00b", "a\nb", "n" * 4096])
def test_a_root_with_a_bad_name_is_refused(root: str) -> None:
    with pytest.raises(UnsafePathError):
        DataDir(root)


def test_a_root_that_cannot_be_created_is_named() -> None:
    with pytest.raises(
        UnsafePathError, match="data_dir: expected a directory that exists or can be created, got /proc/"
    ):
        DataDir("/proc/nobody_makes_this/data").write_atomic("x", b"1")


def test_a_root_that_becomes_a_link_later_is_refused(data: DataDir, outside: Path) -> None:
    data.make_dir("in")
    data.root.rename(data.root.with_name("moved"))
    data.root.symlink_to(outside)
    with pytest.raises(UnsafePathError):
        data.write_atomic("x", b"1")
    assert [path.name for path in outside.iterdir()] == ["victim"]


def test_links_on_the_way_to_the_root_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "short").symlink_to(tmp_path / "disk")
    DataDir(tmp_path / "short" / "data").write_atomic("x", b"1")
    assert (tmp_path / "disk" / "data" / "x").read_bytes() == b"1"


def test_a_relative_root_is_fixed_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = DataDir("data")
    monkeypatch.chdir("/")
    data.write_atomic("x", b"1")
    assert (tmp_path / "data" / "x").exists()


@given(st.text())
def test_no_name_leaves_the_root(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    data = DataDir(tmp_path_factory.getbasetemp() / "never-made")
    try:
        path = data.resolve(name)
    except UnsafePathError:
        return
    assert data.root in Path(os.path.normpath(path)).parents


def test_an_atomic_write_leaves_no_other_file(data: DataDir) -> None:
    data.write_atomic("evidence/a.json", b"long old content")
    data.write_atomic("evidence/a.json", b"new")
    assert data.read_bytes("evidence/a.json") == b"new"
    assert [path.name for path in (data.root / "evidence").iterdir()] == ["a.json"]


def test_a_full_disk_keeps_the_old_content(tmp_path: Path) -> None:
    data = DataDir(tmp_path / "data")
    data.write_atomic("a", b"old")
    data.append("log", b"block\n")
    code = (
        "import resource, signal, sys\n"
        "from hybrid_platform.security.paths import DataDir\n"
        "from hybrid_platform.domain.errors import StorageError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "data = DataDir(sys.argv[1])\n"
        "for write in (data.write_atomic, data.append):\n"
        "    try: write({'write_atomic': 'a', 'append': 'log'}[write.__name__], b'x' * 100)\n"
        "    except StorageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(data.root)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "a: expected a usable file, got: File too large",
        "log: expected a usable file, got: No space left on device",
    ]
    assert (data.read_bytes("a"), data.read_bytes("log")) == (b"old", b"block\n"), "whole, or not at all"
    assert sorted(path.name for path in data.root.iterdir()) == ["a", "log"]


def test_a_file_that_is_too_long_to_read_is_refused(data: DataDir) -> None:
    data.write_atomic("a", b"12345")
    assert data.read_bytes("a", limit=5) == b"12345"
    with pytest.raises(StorageError, match="expected at most 4 bytes"):
        data.read_bytes("a", limit=4)


def test_reading_a_missing_file_raises(data: DataDir) -> None:
    with pytest.raises(FileNotFoundError):
        data.read_bytes("a")
    data.write_atomic("b", b"")
    with pytest.raises(FileNotFoundError):
        data.read_bytes("a")


def test_create_file_keeps_existing_content(data: DataDir) -> None:
    data.write_atomic("bot.db", b"rows")
    assert data.create_file("bot.db") == data.root / "bot.db"
    assert data.read_bytes("bot.db") == b"rows"


def test_appending_rotates_by_size_and_drops_the_oldest(data: DataDir) -> None:
    for number in range(8):
        data.append("log", f"block {number}\n".encode(), rotate_bytes=16, keep=2)
    kept = {path.name: path.read_text() for path in data.root.iterdir()}
    assert kept == {"log": "block 6\nblock 7\n", "log.1": "block 4\nblock 5\n", "log.2": "block 2\nblock 3\n"}


def test_a_block_above_the_rotation_size_is_written(data: DataDir) -> None:
    data.append("log", b"x" * 100, rotate_bytes=10)
    assert data.read_bytes("log") == b"x" * 100


def test_concurrent_appends_survive_rotation(data: DataDir) -> None:
    def append(writer: int) -> None:
        for number in range(50):
            data.append("log", f"{writer} {number} {'x' * 50}\n".encode(), rotate_bytes=1000, keep=100)

    threads = [threading.Thread(target=append, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for path in data.root.iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{writer} {number} {'x' * 50}" for writer in range(4) for number in range(50))


def test_append_reopens_a_file_that_was_rotated_meanwhile(tmp_path: Path) -> None:
    class Overtaken(DataDir):
        def open(self, name: str | Path, flags: int) -> int:
            descriptor = super().open(name, flags)
            if not (self.root / "log.1").exists():
                (self.root / "log").rename(self.root / "log.1")
            return descriptor

    data = Overtaken(tmp_path / "data")
    data.append("log", b"block\n")
    assert (data.read_bytes("log"), data.read_bytes("log.1")) == (b"block\n", b"")


def test_append_times_out_on_a_locked_file(data: DataDir) -> None:
    data = DataDir(data.root, lock_attempts=3)
    data.append("log", b"1\n")
    with (data.root / "log").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="expected its lock within"):
            data.append("log", b"2\n")
    data.append("log", b"3\n")
    assert data.read_bytes("log") == b"1\n3\n"


def test_no_descriptor_is_left_open(data: DataDir, outside: Path) -> None:
    def used() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    data.make_dir("in")
    (data.root / "link").symlink_to(outside)
    before = used()
    for write in WRITES.values():
        write(data, "in/file")
        for bad in ("link", "link/x", "../x", "in"):
            with pytest.raises(UnsafePathError):
                write(data, bad)
    data.append("in/file", b"x", rotate_bytes=1)
    assert used() == before


def test_an_input_file_may_be_a_link_anywhere(outside: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(outside / "victim")
    assert check_input_file(tmp_path / "link") == tmp_path / "link"
    assert check_input_file(str(outside / "victim")) == outside / "victim"


@pytest.mark.parametrize(
    "name", ["missing.csv", "folder", "fifo", "dangling", "file:x", "", "a\x00b", "a\nb", "n" * 4096, "n" * 300]
)
def test_an_unreadable_input_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"^feed\.replay\.path: expected .*, got ") as refused:
        check_input_file(name, "feed.replay.path")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null", "/dev/zero"])
def test_a_device_is_refused_as_input(device: str) -> None:
    with pytest.raises(ConfigError, match="expected a plain file, got a device"):
        check_input_file(device)


def test_an_output_file_is_new_or_plain(tmp_path: Path, outside: Path) -> None:
    assert check_output_file(tmp_path / "new.csv") == tmp_path / "new.csv"
    assert check_output_file(outside / "victim") == outside / "victim"
    (tmp_path / "link").symlink_to(outside / "victim")
    (tmp_path / "dangling").symlink_to(outside / "made")
    for bad in (tmp_path / "link", tmp_path / "dangling", outside, tmp_path / "no" / "x", ":memory:", "file:x", ".."):
        with pytest.raises(ConfigError):
            check_output_file(bad, "--db")
