"""Loading of settings: YAML text, files, environment variables, assignments, and how layers are merged.

``load_settings`` turns any layers into settings, or raises one `ConfigError` with every fault.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.settings.base import collect_faults
from hybrid_platform.settings.instruments import read_instruments
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.settings.yaml_text import YAML_ERRORS, load_yaml

ENV_PREFIX = "HYBRID_PLATFORM_"
SUPERVISED_RUN = ENV_PREFIX + "SUPERVISED_RUN"
"""Variable with the path of the run config that the supervisor keeps alive."""
OWNERS = ENV_PREFIX + "OWNERS"
"""Variable with the owners of the assets in Dagster, which needs them before any run has settings."""
NOT_SETTINGS = (ENV_PREFIX + "DEBUG_", ENV_PREFIX + "TEST_", SUPERVISED_RUN, OWNERS)
NEVER_FROM_ENVIRONMENT = ("mode", "live_armed")
"""LIVE must be requested explicitly in the settings of the run, never through the environment."""

REFERENCE_SECONDS = 30.0


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, or the ``resources.session.config`` of a Dagster run config.

    Raises ConfigError for a file without such a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        got = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ConfigError([Fault(str(path), "a readable YAML file", got[:1].lower() + got[1:])]) from None
    try:
        loaded = load_yaml(text)
    except YAML_ERRORS as error:
        raise ConfigError([Fault(str(path), "valid YAML", " ".join(str(error).split()))]) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError([Fault(str(path), "a mapping of settings", type(loaded).__name__)])
    if "resources" in loaded and set(loaded) <= {"resources", "ops"}:
        try:
            loaded = loaded["resources"]["session"]["config"]
        except (KeyError, TypeError):
            raise ConfigError([Fault(str(path), "resources.session.config", "no such key")]) from None
        if not isinstance(loaded, dict):
            raise ConfigError([Fault(f"{path}: resources.session.config", "a mapping", type(loaded).__name__)])
    return loaded


def parse_assignment(text: str) -> dict[str, Any]:
    """Return ``key.path=value`` (the value is YAML) as a nested mapping. Raises ConfigError."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError([Fault("--set", "key.path=value", repr(text))])
    try:
        parsed = load_yaml(value)
    except YAML_ERRORS as error:
        raise ConfigError([Fault(path, "a YAML value", " ".join(str(error).split()))]) from None
    for key in reversed(keys):
        parsed = {key: parsed}
    return parsed if isinstance(parsed, dict) else {}


def environment_layer(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in ``HYBRID_PLATFORM_<KEY>[__<KEY>…]`` variables; their values are YAML."""
    layer: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name.startswith(NOT_SETTINGS):
            continue
        path = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if path.split(".")[0] in NEVER_FROM_ENVIRONMENT:
            raise ConfigError([Fault(name, "to be set in the run's own settings", "an environment variable")])
        layer = merge(layer, parse_assignment(f"{path}={environ[name]}"))
    return layer


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` overridden by ``above``, mapping by mapping.

    ``feed`` is a choice of one, so another feed replaces it as a whole. Another strategy replaces ``strategy`` as a
    whole, because the parameters below belong to the other one.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            other_feed = key == "feed" and value and not set(value) & set(old)
            other_strategy = key == "strategy" and "name" in value and old.get("name", value["name"]) != value["name"]
            if other_feed or other_strategy:
                merged[key] = dict(value)
            else:
                merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def load_settings(*layers: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> SessionSettings:
    """Return validated settings from the defaults, the environment, and ``layers``; a later layer wins.

    Raises ConfigError with one fault per wrong setting, before anything starts or is written.
    """
    merged = environment_layer(os.environ if environ is None else environ)
    for layer in layers:
        merged = merge(merged, layer)
    if merged.get("instruments_file") is not None:
        merged = _with_instruments_file(merged)
    if _endless_synthetic(merged):
        merged = {**merged, "seconds": REFERENCE_SECONDS} if "seconds" not in merged else merged
    try:
        return SessionSettings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(collect_faults(error, SessionSettings)) from None


def _with_instruments_file(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Put the rows of the file before the stated instruments, so that these win if both state the same one."""
    rows = read_instruments(merged["instruments_file"])
    stated = merged.get("instruments") or ()
    if not isinstance(stated, list | tuple):
        return dict(merged)
    return {**merged, "instruments_file": None, "instruments": [*rows, *stated]}


def _endless_synthetic(merged: Mapping[str, Any]) -> bool:
    feed = merged.get("feed")
    if not isinstance(feed, Mapping):
        return feed is None
    synthetic = feed.get("synthetic")
    return "synthetic" in feed and not (isinstance(synthetic, Mapping) and synthetic.get("ticks"))
