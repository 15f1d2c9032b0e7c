"""What the four stages have in common: a thread with inputs and outputs that ends in one of three ways.

Done: its input ended, it closes its outputs. Failed: it reports one error, aborts its inputs (so that
whoever feeds it stops) and closes its outputs (so that whoever follows drains). Aborted: the stage
after it failed; it does the same without an error of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from hybrid_platform.session.channel import ChannelAborted

OnFailure = Callable[[str, BaseException], None]
"""Told the stage's name and its error; the first one told decides how the session ends."""


StageScope = Callable[[str], AbstractContextManager[None]]


class Abortable(Protocol):
    """An input."""

    def abort(self) -> None:
        """Take no more, and tell whoever puts."""


class Closable(Protocol):
    """An output."""

    def close(self) -> None:
        """Nothing more comes from this stage."""


class StageProgress:
    """What a stage is at: its thread says so, and anybody may read it."""

    __slots__ = ("is_busy", "iterations")

    def __init__(self) -> None:
        self.is_busy = False
        self.iterations = 0

    def mark_busy(self) -> None:
        """Something was taken, and is worked on from now."""
        self.iterations += 1
        self.is_busy = True

    def mark_idle(self) -> None:
        """There is nothing to do but to wait for more."""
        self.is_busy = False


class StageStatus(NamedTuple):
    """What a stage is at, for whoever watches it."""

    name: str
    is_busy: bool
    """At work, not waiting for more."""
    iterations: int
    """How often it began to work."""
    remaining: int = 0
    """Ticks still ahead of it in the batch at hand."""
    expectation: str = "progress of a stage at work"
    """What is expected of it while it is busy."""


class Stage:
    """One thread of the pipeline; subclasses define `work`."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Abortable],
        outputs: Sequence[Closable],
        on_failure: OnFailure,
        guard: StageScope | None = None,
    ) -> None:
        """``guard``: entered with the stage's name, by its own thread, around all its work."""
        self._guard = guard or (lambda name: nullcontext())
        self.name = name
        self.progress = StageProgress()
        self.has_ended = False
        """Whether the thread ended in one of the three ways."""
        self._inputs = inputs
        self._outputs = outputs
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def work(self) -> None:
        """Do the stage's work until its input ends."""
        raise NotImplementedError(f"{type(self).__name__} must define work")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread; return whether it ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def remaining(self) -> int:
        """Ticks of the batch at hand that are still to be worked on, where the stage knows."""
        return 0

    @property
    def status(self) -> StageStatus:
        """What the stage is at; nothing, once it has ended."""
        return StageStatus(self.name, self.progress.is_busy and self.is_alive, self.progress.iterations, self.remaining)

    def _run(self) -> None:
        try:
            with self._guard(self.name):
                self.work()
        except ChannelAborted:
            self.abort()
            self.has_ended = True
        except BaseException as error:
            self._on_failure(self.name, error)
            self.abort()
            self.has_ended = True
        else:
            self.has_ended = True
        finally:
            for channel in self._outputs:
                channel.close()

    def abort(self) -> None:
        """Wake the stage, and whoever feeds it, with ChannelAborted."""
        for channel in self._inputs:
            channel.abort()
