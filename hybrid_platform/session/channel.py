"""Bounded channels between stages, with a stated policy when full and exact counters (S6).

What travels is parcels (a batch of ticks, a step, some records), and each counts as a number of
events; ``capacity`` bounds the events that wait, not the parcel that a consumer works on. "Whatever
is ready" goes in one take, so a slow feed gives single ticks and a fast one gives chunks.
``sent = received + dropped + left`` holds at every instant.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from hybrid_platform.domain.errors import OverloadError
from hybrid_platform.settings.session import OnFull


class ChannelClosed(Exception):
    """Put after the last producer closed: a fault of the caller."""


class EndOfStream(Exception):
    """Every producer closed and nothing is left: the consumer is done."""


class ChannelAborted(Exception):
    """Another stage failed: stop now, what is left stays counted as left."""


class ChannelStats(NamedTuple):
    """A snapshot of one channel, in events."""

    name: str
    capacity: int
    policy: OnFull
    sent: int
    """Offered by producers."""
    received: int
    """Taken by the consumer."""
    dropped: int
    """Evicted as the oldest, or refused for want of room."""
    left: int
    """Waiting now."""
    high_water: int
    """Most that ever waited."""
    blocked: int
    """How often a producer had to wait."""
    refused: int = 0
    """Of what was dropped, what was to be kept: no eviction, but a loss."""

    @property
    def balances(self) -> bool:
        """Whether every event is accounted for."""
        return self.sent == self.received + self.dropped + self.left


class Parcel(Protocol):
    """What a channel carries."""

    @property
    def events(self) -> int:
        """How many events it counts as; 0 is possible."""

    def split(self, first: int) -> tuple[Self, Self] | None:
        """Return the first ``first`` events and the rest; None where a parcel is one whole."""


ParcelT = TypeVar("ParcelT", bound=Parcel)

MAX_PARCELS = 16_384
"""Parcels that count as no event (ticks without a signal, on their way to execution) are bounded too."""


class Channel(Generic[ParcelT]):
    """A bounded queue of parcels for one consumer and a known number of producers."""

    def __init__(
        self, name: str, capacity: int, policy: OnFull, *, producers: int = 1, reserve: int | None = None
    ) -> None:
        """Make an open channel.

        ``reserve``: room of their own (as large as ``capacity`` by default) for parcels that are put
        with ``keep=True``: these are never evicted, and evict nobody.
        """
        self.name = name
        self.capacity = capacity
        self.policy = policy
        self._room_for = (capacity, capacity if reserve is None else reserve)
        self._waiting = [0, 0]
        """Events by ``keep``."""
        self._max_parcels = max(MAX_PARCELS, sum(self._room_for))
        self._producers = producers
        self._parcels: deque[tuple[ParcelT, bool]] = deque()
        self._sent = self._received = self._dropped = self._high_water = self._blocked = self._refused = 0
        self._aborted = False
        self._at_least = 0
        """Events that the consumer waits for: nobody wakes it for fewer."""
        lock = threading.Lock()
        self._readable = threading.Condition(lock)
        self._writable = threading.Condition(lock)

    def put(self, parcel: ParcelT, *, keep: bool = False) -> int:
        """Offer a parcel; return how many events were dropped to make room.

        BLOCK waits for room, DROP_OLDEST evicts, FAIL raises OverloadError. With ``keep`` the
        parcel lives in the reserve: it evicts nobody, and DROP_OLDEST becomes FAIL.
        Raises ChannelAborted where another stage has failed.
        """
        with self._readable:
            self._sent += parcel.events
            if self.policy is OnFull.BLOCK:
                self._block(parcel, keep)
                return 0
            self._check_open(parcel, keep)
            if self.policy is OnFull.DROP_OLDEST and not keep:
                self._append(parcel, keep)
                return self._evict()
            if not self._fits(parcel, keep):
                self._lose(parcel, keep)
                raise OverloadError(
                    f"channel {self.name}: expected room for {parcel.events} more events in its "
                    f"{'reserve' if keep else 'capacity'} of {self._room_for[keep]}, got {self._waiting[keep]} waiting"
                )
            self._append(parcel, keep)
            return 0

    def offer(self, parcel: ParcelT, *, keep: bool = False) -> bool:
        """Put a parcel if there is room now, whatever the policy; return whether it was put. Never waits or drops."""
        with self._readable:
            if self._ended():
                raise ChannelAborted(self.name) if self._aborted else ChannelClosed(self.name)
            if not self._fits(parcel, keep):
                return False
            self._sent += parcel.events
            self._append(parcel, keep)
            return True

    def take(self, limit: int | None = None, timeout: float | None = None, at_least: int = 0) -> list[ParcelT]:
        """Return whatever is ready, at most about ``limit`` events (parcels are split where they can be).

        Waits up to ``timeout`` seconds (None: for ever) for something, or for ``at_least`` events: what is there
        by then is returned, and an empty list means that nothing came. Raises EndOfStream when all producers
        closed and nothing is left.
        """
        with self._readable:
            self._at_least = at_least
            if not self._is_enough() and not self._ended():
                self._readable.wait_for(lambda: self._is_enough() or self._ended(), timeout)
            if self._aborted:
                raise ChannelAborted(self.name)
            if not self._parcels:
                if self._producers == 0:
                    raise EndOfStream(self.name)
                return []
            taken = self._take(limit)
            self._writable.notify_all()
            return taken

    def give_way(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds while more than half of the capacity waits: let the consumer have its turn."""
        with self._readable:
            if self._is_half_full():
                self._writable.wait_for(lambda: not self._is_half_full() or self._ended(), timeout)

    def close(self) -> None:
        """Say that one producer has put its last parcel."""
        with self._readable:
            self._producers = max(0, self._producers - 1)
            if self._producers == 0:
                self._readable.notify_all()
                self._writable.notify_all()

    def close_all(self) -> None:
        """Close for every producer, also one that is stuck and will never close."""
        with self._readable:
            self._producers = 0
            self._readable.notify_all()
            self._writable.notify_all()

    def abort(self) -> None:
        """Wake everybody with ChannelAborted."""
        with self._readable:
            self._aborted = True
            self._readable.notify_all()
            self._writable.notify_all()

    def stats(self) -> ChannelStats:
        """Return a consistent snapshot."""
        with self._readable:
            return ChannelStats(
                self.name,
                self.capacity,
                self.policy,
                self._sent,
                self._received,
                self._dropped,
                sum(self._waiting),
                self._high_water,
                self._blocked,
                self._refused,
            )

    # What follows runs under the lock.

    def _is_enough(self) -> bool:
        return bool(self._parcels) and sum(self._waiting) >= self._at_least

    def _is_half_full(self) -> bool:
        return 2 * self._waiting[False] > self.capacity

    def _ended(self) -> bool:
        return self._aborted or self._producers == 0

    def _lose(self, parcel: ParcelT, keep: bool) -> None:
        self._dropped += parcel.events
        if keep:
            self._refused += parcel.events

    def _check_open(self, parcel: ParcelT, keep: bool) -> None:
        if self._ended():
            self._lose(parcel, keep)
            raise ChannelAborted(self.name) if self._aborted else ChannelClosed(self.name)

    def _room(self, keep: bool) -> int:
        return self._room_for[keep] - self._waiting[keep]

    def _fits(self, parcel: ParcelT, keep: bool) -> bool:
        # A parcel that is larger than the channel fits an empty one, if it is one whole.
        fits = parcel.events <= self._room(keep) or (self._waiting[keep] == 0 and parcel.split(1) is None)
        return fits and len(self._parcels) < self._max_parcels

    def _block(self, parcel: ParcelT, keep: bool) -> None:
        rest = parcel
        while True:
            self._check_open(rest, keep)
            room = self._room(keep)
            if rest.events > room > 0 and (parts := rest.split(room)) is not None:
                self._append(parts[0], keep)
                rest = parts[1]
            elif self._fits(rest, keep):
                self._append(rest, keep)
                return
            else:
                self._blocked += 1
                self._writable.wait()

    def _append(self, parcel: ParcelT, keep: bool) -> None:
        self._parcels.append((parcel, keep))
        self._waiting[keep] += parcel.events
        self._high_water = max(self._high_water, sum(self._waiting))
        if self._is_enough():
            self._readable.notify()

    def _evict(self) -> int:
        """Drop the oldest that need not be kept until the rest fits; return how many events went."""
        evicted = 0
        kept: list[tuple[ParcelT, bool]] = []
        while self._parcels and (self._room(False) < 0 or len(self._parcels) + len(kept) > self._max_parcels):
            parcel, keep = self._parcels.popleft()
            if keep:
                kept.append((parcel, keep))
                continue
            gone, excess = parcel.events, -self._room(False)
            if gone > excess > 0 and (parts := parcel.split(excess)) is not None:
                gone = excess
                kept.append((parts[1], False))
            self._waiting[False] -= gone
            evicted += gone
        self._parcels.extendleft(reversed(kept))
        self._dropped += evicted
        return evicted

    def _take(self, limit: int | None) -> list[ParcelT]:
        if limit is None:
            taken = [parcel for parcel, _ in self._parcels]
            self._parcels.clear()
            self._received += sum(self._waiting)
            self._waiting = [0, 0]
            return taken
        taken, room = [], limit
        while self._parcels and room > 0:
            parcel, keep = self._parcels.popleft()
            if parcel.events > room and (parts := parcel.split(room)) is not None:
                self._parcels.appendleft((parts[1], keep))
                parcel = parts[0]
            taken.append(parcel)
            room -= parcel.events
            self._received += parcel.events
            self._waiting[keep] -= parcel.events
        return taken
