"""Whether somebody keeps this host's clock right, as the kernel says: adjtimex(2), read and never set.

out: a `ClockSync`. Whoever disciplines the clock (chronyd, ntpd, timesyncd, a hypervisor's agent) tells the
kernel, so it is asked instead of each of them. Event times and staleness lean on it (S7); nothing raises.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Callable

from hybrid_platform.domain.records import ClockSync

_LONG = "l"
_TIMEX = struct.Struct(f"@I4{_LONG}i3{_LONG}2{_LONG}3{_LONG}i5{_LONG}i11i")
"""modes; offset, freq, maxerror, esterror; status; constant, precision, tolerance; time; tick, ppsfreq, jitter, …"""
_OFFSET, _MAX_ERROR, _ESTIMATED, _STATUS = 1, 3, 4, 5
_UNSYNCHRONISED, _NANOSECONDS = 0x0040, 0x2000
_TIME_ERROR = 5
US_PER_MS = 1_000

Adjtimex = Callable[[ctypes.Array[ctypes.c_char]], int]
"""Fills a ``struct timex`` whose modes are 0, and returns the clock's state; raises OSError where it may not."""


def read_clock_sync(adjtimex: Adjtimex | None = None) -> ClockSync:
    """Return what the kernel says of its clock; ``is_synchronised`` is None where it cannot be read."""
    if adjtimex is None:
        if sys.platform != "linux":
            return ClockSync(None, None, None, None, f"no adjtimex on {sys.platform}")
        adjtimex = _ask_kernel
    buffer = ctypes.create_string_buffer(_TIMEX.size)
    try:
        state = adjtimex(buffer)
    except (OSError, AttributeError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "no such call"
        return ClockSync(None, None, None, None, f"adjtimex: {reason}")
    found = _TIMEX.unpack_from(buffer)
    status = found[_STATUS]
    synchronised = state != _TIME_ERROR and not status & _UNSYNCHRONISED
    offset_ms = found[_OFFSET] / (US_PER_MS * (1_000 if status & _NANOSECONDS else 1))
    return ClockSync(
        synchronised,
        found[_ESTIMATED] / US_PER_MS,
        found[_MAX_ERROR] / US_PER_MS,
        offset_ms,
        "kept right" if synchronised else "nobody keeps it right",
    )


def _ask_kernel(buffer: ctypes.Array[ctypes.c_char]) -> int:
    call = ctypes.CDLL(None, use_errno=True).adjtimex
    state = int(call(buffer))
    if state < 0:
        raise OSError(ctypes.get_errno() or errno.EINVAL, "adjtimex")
    return state
