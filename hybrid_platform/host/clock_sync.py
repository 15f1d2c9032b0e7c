"""Synchronisation of the host's clock, read from the kernel with adjtimex(2) and never set.

out: a `ClockSync`. Every service that disciplines the clock (chronyd, ntpd, timesyncd, a hypervisor's agent) reports
to the kernel, so the kernel is read instead of each service. Event times and staleness depend on it (S7). Nothing
here raises.
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
"""Fills a ``struct timex`` whose modes are 0 and returns the clock's state; raises OSError if not permitted."""


def read_clock_sync(adjtimex: Adjtimex | None = None) -> ClockSync:
    """Return the kernel's clock state; ``is_synchronised`` is None if it cannot be read."""
    if adjtimex is None:
        if sys.platform != "linux":
            return ClockSync(None, None, None, None, f"no adjtimex on {sys.platform}")
        adjtimex = _call_adjtimex
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
        "synchronised" if synchronised else "not synchronised",
    )


def _call_adjtimex(buffer: ctypes.Array[ctypes.c_char]) -> int:
    call = ctypes.CDLL(None, use_errno=True).adjtimex
    state = int(call(buffer))
    if state < 0:
        raise OSError(ctypes.get_errno() or errno.EINVAL, "adjtimex")
    return state
