"""What the four stages have in common: a thread with inputs and outputs that ends in one of three ways.

Done: its input ended, it closes its outputs. Failed: it reports one error, aborts its inputs (so that
whoever feeds it stops) and closes its outputs (so that whoever follows drains). Aborted: the stage
after it failed; it does the same without an error of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from hybrid_platform.pipeline.channel import ChannelAborted

OnFailure = Callable[[str, BaseException], None]
"""Told the stage's name and its error; the first one told decides how the session ends."""


Guard = Callable[[str], AbstractContextManager[None]]


class Abortable(Protocol):
    """An input."""

    def abort(self) -> None:
        """Take no more, and tell whoever puts."""


class Closable(Protocol):
    """An output."""

    def close(self) -> None:
        """Nothing more comes from this stage."""


class Stage:
    """One thread of the pipeline; subclasses define `work`."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[Abortable],
        outputs: Sequence[Closable],
        on_failure: OnFailure,
        guard: Guard | None = None,
    ) -> None:
        """``guard``: entered with the stage's name, by its own thread, around all its work."""
        self._guard = guard or (lambda name: nullcontext())
        self.name = name
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

    def _run(self) -> None:
        try:
            with self._guard(self.name):
                self.work()
        except ChannelAborted:
            self.abort()
        except BaseException as error:
            self._on_failure(self.name, error)
            self.abort()
        finally:
            for channel in self._outputs:
                channel.close()

    def abort(self) -> None:
        """Wake the stage, and whoever feeds it, with ChannelAborted."""
        for channel in self._inputs:
            channel.abort()
