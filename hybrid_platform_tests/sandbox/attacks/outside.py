"""Attacks on the parent, its files and other processes. Each returns the data it stole."""

from __future__ import annotations

import ctypes
import os
import signal
import sqlite3
import struct
from pathlib import Path

from hybrid_platform_tests.sandbox.attacks.kernel import _call
from hybrid_platform_tests.sandbox.attacks.target import Surroundings


def parent_memory(around: Surroundings) -> str:
    with Path(f"/proc/{around.target.parent}/mem").open("rb", 0) as memory:
        memory.seek(around.target.secret_address)
        return memory.read(around.target.key_length).decode()


def parent_process_vm(around: Surroundings) -> str:
    size = around.target.key_length
    buffer = ctypes.create_string_buffer(size)
    here = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), size))
    there = ctypes.create_string_buffer(struct.pack("=QQ", around.target.secret_address, size))
    parent = ctypes.c_long(around.target.parent)
    _call("process_vm_readv", parent, here, ctypes.c_ulong(1), there, ctypes.c_ulong(1), ctypes.c_ulong(0))
    return buffer.raw.decode()


def parent_socket(around: Surroundings) -> None:
    handle = os.pidfd_open(around.target.parent)
    stolen = _call("pidfd_getfd", handle, around.target.parent_socket, 0)
    os.write(stolen, around.target.message)


def read_key(around: Surroundings) -> str:
    return Path(around.target.key).read_text()


def link_key(around: Surroundings) -> str:
    """Link the key into a readable directory."""
    link = Path(around.target.code).with_name("linked")
    link.hardlink_to(around.target.key)
    return link.read_text()


def leave_pth(around: Surroundings) -> None:
    Path(around.target.code).with_name(f"{around.target.token}.pth").write_text("import os")


def change_code(around: Surroundings) -> None:
    with Path(around.target.code).open("a") as file:
        file.write(f"# {around.target.token}\n")


def write_database(around: Surroundings) -> None:
    with sqlite3.connect(around.target.database) as database:
        database.execute("UPDATE trades SET note = ?", (around.target.token,))
    database.close()


def empty_database(around: Surroundings) -> None:
    os.truncate(around.target.database, 0)


def change_evidence(around: Surroundings) -> None:
    Path(around.target.evidence).write_text(around.target.token)


def remove_evidence(around: Surroundings) -> None:
    Path(around.target.evidence).unlink()


def open_key_to_all(around: Surroundings) -> None:
    Path(around.target.key).chmod(0o666)


def kill_neighbour(around: Surroundings) -> None:
    ctypes.CDLL(None).kill(around.target.victim, int(signal.SIGKILL))
