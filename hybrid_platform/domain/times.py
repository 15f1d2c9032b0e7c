"""Parsing of times into integer nanoseconds since the Unix epoch, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hybrid_platform.domain.clocks import NS_PER_S

UNIT_DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Unit of time -> its decimal digits down to the nanosecond."""
EARLIEST_NS = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
LATEST_NS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * NS_PER_S
"""Market times lie in 2000 … 2100. Anything else has the wrong unit (milliseconds read as nanoseconds, say)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<time>\d{2}(?::\d{2}(?P<seconds>:\d{2}(?:\.(?P<fraction>\d{1,9}))?)?)?)"
    r"(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_COMPLETE_ZONE = re.compile(r"Z|[+-]\d{2}:\d{2}", re.ASCII)


def is_market_time(ts_ns: int) -> bool:
    """Return whether a time lies between `EARLIEST_NS` and `LATEST_NS`."""
    return EARLIEST_NS <= ts_ns < LATEST_NS


def parse_iso(text: str, *, complete: bool = False) -> int:
    """Return the nanoseconds of an ISO 8601 time with up to nine decimals; raise ValueError.

    The time of day, its seconds and the zone may be missing; without a zone the time is UTC. With
    ``complete``, seconds and a ``Z`` or an offset such as ``+01:00`` are required.
    """
    found = _ISO.fullmatch(text)
    if found is None or (complete and not (found["seconds"] and _COMPLETE_ZONE.fullmatch(found["zone"] or ""))):
        raise ValueError(f"expected an ISO 8601 time, got {text[:40]!r}")
    fraction = found["fraction"] or ""
    # `fromisoformat` takes six decimals at most, so the fraction is added as nanoseconds afterwards.
    time = (found["time"] or "00").removesuffix(f".{fraction}")
    moment = datetime.fromisoformat(f"{found['day']}T{time}{found['zone'] or 'Z'}")
    return (moment - _EPOCH) // timedelta(seconds=1) * NS_PER_S + int(fraction.ljust(9, "0"))
