"""Bounded channels between stages, with a stated overflow policy and exact counters (S6).

A channel carries messages (a batch of ticks, a decision step, some records), and each counts as a
number of events. ``capacity`` bounds the events that wait, not the message that a consumer is
working on. One `Channel.receive` returns everything that is ready, so a slow feed yields single
ticks and a fast one yields chunks. ``sent = received + dropped + depth`` holds at every instant.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Protocol, Self, TypeVar

from hybrid_platform.domain.errors import OverloadError
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.settings.runtime import OnFull


class ChannelClosed(Exception):
    """Raised by a send after the last producer closed; a bug in the caller."""


class EndOfStream(Exception):
    """Raised by a receive when every producer has closed and the channel is empty."""


class ChannelAborted(Exception):
    """Raised on both sides after another stage failed; what still waits stays counted in ``depth``."""


class Message(Protocol):
    """A unit of work that a channel carries."""

    @property
    def events(self) -> int:
        """How many events it counts as; 0 is possible."""

    def split(self, first: int) -> tuple[Self, Self] | None:
        """Return the first ``first`` events and the rest, or None if the message cannot be split."""


MessageT = TypeVar("MessageT", bound=Message)

MAX_MESSAGES = 16_384
"""Messages without events (ticks without a signal on their way to execution) are bounded too."""


class Channel(Generic[MessageT]):
    """Bounded queue of messages for one consumer and a known number of producers."""

    def __init__(
        self,
        name: str,
        capacity: int,
        policy: OnFull,
        *,
        producers: int = 1,
        reserve: int | None = None,
        max_messages: int = MAX_MESSAGES,
    ) -> None:
        """Open a channel.

        ``reserve`` is separate room (as large as ``capacity`` by default) for messages that are sent
        with ``guaranteed=True``. They are never evicted, and they evict nothing.
        """
        self.name = name
        self.capacity = capacity
        self.policy = policy
        self._limits = (capacity, capacity if reserve is None else reserve)
        self._waiting = [0, 0]
        """Events by ``guaranteed``."""
        self._max_messages = max(max_messages, sum(self._limits))
        self._producers = producers
        self._messages: deque[tuple[MessageT, bool]] = deque()
        self._sent = self._received = self._dropped = self._max_depth = self._blocked = self._refused = 0
        self._aborted = False
        self._at_least = 0
        """The consumer is woken only once this many events wait."""
        lock = threading.Lock()
        self._readable = threading.Condition(lock)
        self._writable = threading.Condition(lock)

    def send(self, message: MessageT, *, guaranteed: bool = False) -> int:
        """Send a message; return how many events were dropped to make room for it.

        BLOCK waits for room, DROP_OLDEST evicts, FAIL raises OverloadError. A ``guaranteed`` message
        uses the reserve: it evicts nothing, and DROP_OLDEST becomes FAIL.
        Raises ChannelAborted if another stage has failed.
        """
        with self._readable:
            self._sent += message.events
            if self.policy is OnFull.BLOCK:
                self._block(message, guaranteed)
                return 0
            self._check_open(message, guaranteed)
            if self.policy is OnFull.DROP_OLDEST and not guaranteed:
                self._append(message, guaranteed)
                return self._evict()
            if not self._fits(message, guaranteed):
                self._lose(message, guaranteed)
                room, limit = "reserve" if guaranteed else "capacity", self._limits[guaranteed]
                raise OverloadError(
                    f"channel {self.name}: expected room for {message.events} more events in its {room} of {limit}, "
                    f"got {self._waiting[guaranteed]} waiting"
                )
            self._append(message, guaranteed)
            return 0

    def try_send(self, message: MessageT, *, guaranteed: bool = False) -> bool:
        """Send a message if there is room now; return whether it was sent. Never waits and never drops."""
        with self._readable:
            if self._ended():
                raise ChannelAborted(self.name) if self._aborted else ChannelClosed(self.name)
            if not self._fits(message, guaranteed):
                return False
            self._sent += message.events
            self._append(message, guaranteed)
            return True

    def receive(self, limit: int | None = None, timeout: float | None = None, at_least: int = 0) -> list[MessageT]:
        """Return what is ready, about ``limit`` events at most (messages are split where possible).

        Waits up to ``timeout`` seconds (None: without limit) until ``at_least`` events, or anything at all,
        are there, then returns what has come; an empty list means that nothing did. Raises EndOfStream when
        all producers have closed and nothing is left, ChannelAborted if another stage has failed.
        """
        with self._readable:
            self._at_least = at_least
            if not self._is_enough() and not self._ended():
                self._readable.wait_for(lambda: self._is_enough() or self._ended(), timeout)
            if self._aborted:
                raise ChannelAborted(self.name)
            if not self._messages:
                if self._producers == 0:
                    raise EndOfStream(self.name)
                return []
            taken = self._take(limit)
            self._writable.notify_all()
            return taken

    def wait_until_half_empty(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds while the channel is more than half full, to let the consumer catch up."""
        with self._readable:
            if self._is_half_full():
                self._writable.wait_for(lambda: not self._is_half_full() or self._ended(), timeout)

    def close(self) -> None:
        """Close the channel for one producer, which sends nothing more."""
        with self._readable:
            self._producers = max(0, self._producers - 1)
            if self._producers == 0:
                self._readable.notify_all()
                self._writable.notify_all()

    def close_all(self) -> None:
        """Close the channel for every producer, including one that is stuck and will never close."""
        with self._readable:
            self._producers = 0
            self._readable.notify_all()
            self._writable.notify_all()

    def abort(self) -> None:
        """Wake producers and consumer with ChannelAborted."""
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
                self._max_depth,
                self._blocked,
                self._refused,
            )

    # The methods below run under the lock.

    def _is_enough(self) -> bool:
        return bool(self._messages) and sum(self._waiting) >= self._at_least

    def _is_half_full(self) -> bool:
        return 2 * self._waiting[False] > self.capacity

    def _ended(self) -> bool:
        return self._aborted or self._producers == 0

    def _lose(self, message: MessageT, guaranteed: bool) -> None:
        self._dropped += message.events
        if guaranteed:
            self._refused += message.events

    def _check_open(self, message: MessageT, guaranteed: bool) -> None:
        if self._ended():
            self._lose(message, guaranteed)
            raise ChannelAborted(self.name) if self._aborted else ChannelClosed(self.name)

    def _room(self, guaranteed: bool) -> int:
        return self._limits[guaranteed] - self._waiting[guaranteed]

    def _fits(self, message: MessageT, guaranteed: bool) -> bool:
        # A message that is larger than the channel and cannot be split fits an empty channel.
        fits = message.events <= self._room(guaranteed) or (self._waiting[guaranteed] == 0 and message.split(1) is None)
        return fits and len(self._messages) < self._max_messages

    def _block(self, message: MessageT, guaranteed: bool) -> None:
        rest = message
        while True:
            self._check_open(rest, guaranteed)
            room = self._room(guaranteed)
            if rest.events > room > 0 and (parts := rest.split(room)) is not None:
                self._append(parts[0], guaranteed)
                rest = parts[1]
            elif self._fits(rest, guaranteed):
                self._append(rest, guaranteed)
                return
            else:
                self._blocked += 1
                self._writable.wait()

    def _append(self, message: MessageT, guaranteed: bool) -> None:
        self._messages.append((message, guaranteed))
        self._waiting[guaranteed] += message.events
        self._max_depth = max(self._max_depth, sum(self._waiting))
        if self._is_enough():
            self._readable.notify()

    def _evict(self) -> int:
        """Drop the oldest messages that are not guaranteed until the rest fits; return how many events were dropped."""
        evicted = 0
        kept: list[tuple[MessageT, bool]] = []
        while self._messages and (self._room(False) < 0 or len(self._messages) + len(kept) > self._max_messages):
            message, guaranteed = self._messages.popleft()
            if guaranteed:
                kept.append((message, guaranteed))
                continue
            gone, excess = message.events, -self._room(False)
            if gone > excess > 0 and (parts := message.split(excess)) is not None:
                gone = excess
                kept.append((parts[1], False))
            self._waiting[False] -= gone
            evicted += gone
        self._messages.extendleft(reversed(kept))
        self._dropped += evicted
        return evicted

    def _take(self, limit: int | None) -> list[MessageT]:
        if limit is None:
            taken = [message for message, _ in self._messages]
            self._messages.clear()
            self._received += sum(self._waiting)
            self._waiting = [0, 0]
            return taken
        taken, room = [], limit
        while self._messages and room > 0:
            message, guaranteed = self._messages.popleft()
            if message.events > room and (parts := message.split(room)) is not None:
                self._messages.appendleft((parts[1], guaranteed))
                message = parts[0]
            taken.append(message)
            room -= message.events
            self._received += message.events
            self._waiting[guaranteed] -= message.events
        return taken
