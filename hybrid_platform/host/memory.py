"""What a phase has freed, back to the host: the next one then begins where that one did, not on top of it."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return freed memory that the C library keeps, in an arena for each thread that there was; glibc only."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
