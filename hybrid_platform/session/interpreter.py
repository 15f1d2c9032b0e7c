"""Interpreter tuning while the stages run: a shorter GIL switch interval, and loaded objects frozen out of the GC.

A full collection visits every object of every loaded library: 100 ms during which no thread runs, four times as
long as a live channel of 256 ticks lasts at 10,000 ticks a second. Used by both processes of a session.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

SWITCH_INTERVAL_S = 0.001
"""How long a thread that asks for the GIL may have to wait for it (`sys.setswitchinterval`).

A thread releases it at each SQLite statement, pipe access and large numpy call. If another thread computes, it gets
it back one interval after it asks, so an interval shorter than Python's 5 ms loses less time there.
"""


def tune_interpreter() -> Callable[[], None]:
    """Tune the interpreter of the whole process; return a function that restores it."""
    before, was_frozen = sys.getswitchinterval(), gc.get_freeze_count() > 0
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if was_frozen:  # it stays frozen, but without the garbage of an earlier session
        gc.collect()
    # Objects that exist now live until the end, so only those that the session creates are collected.
    gc.freeze()

    def restore() -> None:
        sys.setswitchinterval(before)
        # If the embedding process had already called gc.freeze(), leave its objects frozen.
        if not was_frozen:
            gc.unfreeze()

    return restore
