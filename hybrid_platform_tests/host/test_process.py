"""The identity of a process, and its heap: checked on real processes."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import psutil
import pytest
from msgspec.structs import replace

from hybrid_platform.host.process import this_process, trim_heap


def test_this_process_is_not_gone():
    assert not this_process().is_gone
    assert this_process().pid == os.getpid()


def test_a_dead_process_is_gone():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert replace(this_process(), pid=dead.pid).is_gone


def test_a_reused_process_number_is_not_the_same_process():
    """A live process with another start time means that the identified one has ended."""
    assert replace(this_process(), pid_started=1).is_gone


def test_a_process_of_another_host_is_never_reported_gone():
    assert not replace(this_process(), pid=1, host="elsewhere").is_gone


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory, and only glibc trims it")
def test_trimming_returns_freed_memory_to_the_system():
    held = [bytes(40_000) for _ in range(2_000)]
    pins = held[::20]  # so that only a trim returns the memory between them
    held.clear()
    before = psutil.Process().memory_info().rss
    trim_heap()
    assert before - psutil.Process().memory_info().rss > 40 << 20
    assert len(pins) == 100


def test_trimming_does_nothing_with_another_c_library(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    trim_heap()
