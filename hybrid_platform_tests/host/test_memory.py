"""What a phase has freed is given back to the host."""

from __future__ import annotations

import ctypes
import platform

import psutil
import pytest

from hybrid_platform.host.memory import give_back


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it, and only glibc gives it back")
def test_freed_memory_below_what_is_still_held_is_given_back():
    held = [bytes(40_000) for _ in range(2_000)]
    pins = held[::20]  # so that nothing but a trim returns what lies between them
    held.clear()
    before = psutil.Process().memory_info().rss
    give_back()
    assert before - psutil.Process().memory_info().rss > 40 << 20
    assert len(pins) == 100


def test_another_c_library_keeps_it_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back()
