"""The base of all stages: a thread with inputs and outputs that ends in one of three ways.

Done: the input ended; the stage closes its outputs. Failed: it reports one error, aborts its inputs, so
that the stage before it stops, and closes its outputs, so that the stage after it drains. Aborted: a
stage after it failed; it does the same without reporting an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from hybrid_platform.session.channel import ChannelAborted

OnFailure = Callable[[str, BaseException], None]
"""Takes the name of a stage and its error; the first failure decides how the session ends."""

StageScope = Callable[[str], AbstractContextManager[None]]
"""Entered by a stage's own thread, with the stage's name, around all its work."""


class Abortable(Protocol):
    """An input of a stage."""

    def abort(self) -> None:
        """Stop receiving; the previous stage's sends then fail."""


class Closable(Protocol):
    """An output of a stage."""

    def close(self) -> None:
        """Accept nothing more from this stage."""


class StageProgress:
    """Progress of a stage: written by its own thread, read by any."""

    __slots__ = ("is_busy", "iterations")

    def __init__(self) -> None:
        self.is_busy = False
        self.iterations = 0

    def mark_busy(self) -> None:
        """Record that the stage works on something that it received."""
        self.iterations += 1
        self.is_busy = True

    def mark_idle(self) -> None:
        """Record that the stage waits for input."""
        self.is_busy = False


class StageStatus(NamedTuple):
    """Status of a stage at one moment."""

    name: str
    is_busy: bool
    """Working, as opposed to waiting for more."""
    iterations: int
    """How often it began to work."""
    remaining: int = 0
    """Ticks of the current batch that are still to be processed."""
    expectation: str = "progress of a stage at work"
    """The sign of progress that a busy stage owes; part of the message if it is stuck."""


class Stage:
    """One thread of the pipeline; subclasses define `work`."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Abortable],
        outputs: Sequence[Closable],
        on_failure: OnFailure,
        scope: StageScope | None = None,
    ) -> None:
        self.name = name
        self.progress = StageProgress()
        self.has_ended = False
        """Whether the thread ended in one of the three ways."""
        self._inputs = inputs
        self._outputs = outputs
        self._on_failure = on_failure
        self._scope = scope or (lambda name: nullcontext())
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def work(self) -> None:
        """Do the stage's work until its input ends."""
        raise NotImplementedError(f"{type(self).__name__} must define work")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread; return whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def remaining(self) -> int:
        """Ticks of the current batch that are still to be processed, if the stage knows."""
        return 0

    @property
    def status(self) -> StageStatus:
        """Status of the stage; idle after it has ended."""
        return StageStatus(self.name, self.progress.is_busy and self.is_alive, self.progress.iterations, self.remaining)

    def abort(self) -> None:
        """Wake the stage, and the stages before it, with ChannelAborted."""
        for channel in self._inputs:
            channel.abort()

    def _run(self) -> None:
        try:
            with self._scope(self.name):
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
