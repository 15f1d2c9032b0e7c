"""The venues, one module each: a module named as in the settings holds one subclass of `Venue`."""

from __future__ import annotations

from importlib import import_module

from hybrid_platform.feeds.websocket.venue import Venue
from hybrid_platform.settings.websocket import FrameFormat, VenueName


def load_venue_class(name: VenueName) -> type[Venue]:
    """Return the `Venue` of this name, importing its module: a session needs only a few of them."""
    module = import_module(f"{__name__}.{name}")
    [found] = (
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Venue) and item.__module__ == module.__name__
    )
    return found


def create_venue(form: FrameFormat) -> Venue:
    """Return the venue that decodes these frames."""
    return load_venue_class(form.venue)(form)
