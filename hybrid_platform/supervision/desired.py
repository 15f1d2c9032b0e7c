"""Which run is wanted: one file, named by ``HYBRID_PLATFORM_SUPERVISED_RUN`` or ``run_configs/supervised.yaml``.

in: the environment, the file · out: validated settings, and the run config to launch. Read anew at each
look, so a corrected file needs no restart; the run that goes on keeps what it was launched with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_platform.settings.loading import SUPERVISED_RUN, environment_layer, load_settings, read_yaml
from hybrid_platform.settings.session import SessionSettings

DEFAULT_FILE = "run_configs/supervised.yaml"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The run that shall always be there."""

    path: Path
    stated: Mapping[str, Any]
    """What the launch says; the rest comes from the environment and the defaults."""
    settings: SessionSettings
    rolls: bool
    """Whether its time limit is the supervisor's own."""

    @property
    def digest(self) -> str:
        """Tell one wanted run from another, whatever it depends on."""
        text = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def wanted_path(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the file; relative ones count from the code server's working directory."""
    return Path(environ.get(SUPERVISED_RUN) or DEFAULT_FILE).absolute()


def read_wanted(environ: Mapping[str, str]) -> Wanted:
    """Return the wanted run; raise ConfigError for a file, or settings, that cannot be meant.

    Without ``seconds`` it has no end of its own. A live feed is then cut into sessions of
    ``supervision.max_session_seconds``; a replay, or a synthetic feed with ``ticks``, would begin anew.
    """
    path = wanted_path(environ)
    stated = read_yaml(path)
    if "seconds" not in stated and "seconds" not in environment_layer(environ):
        stated["seconds"] = None
    settings = load_settings(stated, environ=environ)
    synthetic = settings.feed.synthetic
    rolls = settings.seconds is None and settings.is_live_feed and (synthetic is None or synthetic.ticks is None)
    if rolls:
        stated["seconds"] = settings.supervision.max_session_seconds
        settings = load_settings(stated, environ=environ)
    return Wanted(path, stated, settings, rolls)
