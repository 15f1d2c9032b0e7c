"""How Python itself is set while stages run: its lock changes hands sooner, and what is loaded is not looked through.

A full collection looks at every object of every loaded library: 100 ms during which no thread runs, four times as
long as a live channel of 256 ticks lasts at 10,000 a second.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

SWITCH_SECONDS = 0.001
"""How long the interpreter's lock may be kept from a thread that asks for it (`sys.setswitchinterval`).

One that gave it up, at each statement of SQLite, each pipe and each large numpy call, gets it back one interval after
it asks, if another computes: a shorter one than Python's 5 ms loses less time there.
"""


def tune_interpreter() -> Callable[[], None]:
    """Set the interpreter, of the whole process; return what sets it back."""
    before, was_frozen = sys.getswitchinterval(), gc.get_freeze_count() > 0
    sys.setswitchinterval(SWITCH_SECONDS)
    if was_frozen:  # and stays so: no garbage of an earlier session with it
        gc.collect()
    # What lives now lives until the end: only what the session makes is looked through.
    gc.freeze()

    def set_back() -> None:
        sys.setswitchinterval(before)
        # Where somebody had frozen what he loaded, for his process to start and end sooner, it stays so.
        if not was_frozen:
            gc.unfreeze()

    return set_back
