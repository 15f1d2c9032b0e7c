"""Replay of recorded files (SPEC 4): the way of a row is sources → lines → a block → rules → merge → pacing."""

from hybrid_platform.feeds.files.feed import FileReplay

__all__ = ["FileReplay"]
