"""The desired run: one file, ``HYBRID_PLATFORM_SUPERVISED_RUN`` or ``run_configs/supervised.yaml``.

In: the environment, the file. Out: validated settings, and the run config to launch. The file is read at each
evaluation, so a correction needs no restart; a running session keeps its settings.
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
class DesiredRun:
    """The run that the supervisor keeps alive."""

    path: Path
    stated: Mapping[str, Any]
    """The run config of a launch; other settings come from the environment and the defaults."""
    settings: SessionSettings
    rolls: bool
    """Whether the supervisor sets its time limit."""

    @property
    def digest(self) -> str:
        """Digest that identifies the desired run, including environment and defaults."""
        text = json.dumps(self.settings.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def desired_run_path(environ: Mapping[str, str]) -> Path:
    """Return the absolute path of the file; relative to the working directory of the code server."""
    return Path(environ.get(SUPERVISED_RUN) or DEFAULT_FILE).absolute()


def read_desired_run(environ: Mapping[str, str]) -> DesiredRun:
    """Return the desired run. Raises ConfigError for a wrong file or wrong settings.

    A run without ``seconds`` is endless. A live feed is then cut into sessions of ``supervision.max_session_seconds``;
    a replay, or a synthetic feed with ``ticks``, is not, because it would start from its beginning.
    """
    path = desired_run_path(environ)
    stated = read_yaml(path)
    if "seconds" not in stated and "seconds" not in environment_layer(environ):
        stated["seconds"] = None
    settings = load_settings(stated, environ=environ)
    synthetic = settings.feed.synthetic
    rolls = settings.seconds is None and settings.is_live_feed and (synthetic is None or synthetic.ticks is None)
    if rolls:
        stated["seconds"] = settings.supervision.max_session_seconds
        settings = load_settings(stated, environ=environ)
    return DesiredRun(path, stated, settings, rolls)
