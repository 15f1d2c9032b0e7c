"""Loading of strategies: a name (built in, or an installed entry point) or an import path, and checked parameters."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.settings.base import collect_faults
from hybrid_platform.settings.trading import StrategySettings
from hybrid_platform.strategies.base import Strategy

GROUP = "hybrid_platform.strategies"
_BUILT_IN = {
    "periodic": "hybrid_platform.strategies.periodic:Periodic",
    "sma_crossover": "hybrid_platform.strategies.sma_crossover:SmaCrossover",
}
"""Known without installed metadata, so that a source checkout works."""


def is_built_in(name: str) -> bool:
    """Return whether the strategy is the platform's own code, which any process may import."""
    return name in _BUILT_IN or name in _BUILT_IN.values()


def resolve_strategy_path(name: str) -> str:
    """Return the import path of a named strategy; return a path unchanged."""
    return list_strategies().get(name, name)


def list_strategies() -> dict[str, str]:
    """Return name -> import path of every strategy that has a name."""
    return {**{point.name: point.value for point in entry_points(group=GROUP)}, **_BUILT_IN}


def load_strategy_class(name: str) -> type[Strategy[Any]]:
    """Import a strategy class; raise ConfigError if there is none."""
    known = list_strategies()
    path = resolve_strategy_path(name)
    module_name, colon, class_name = path.partition(":")
    if not colon:
        raise ConfigError(
            [Fault("strategy.name", f"one of {', '.join(sorted(known))}, or package.module:Class", repr(name))]
        )
    try:
        strategy_class = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a user's module may raise anything at import
        raise ConfigError(
            [Fault("strategy.name", "an importable class", f"{path!r}: {type(error).__name__}: {error}")]
        ) from None
    if not (isinstance(strategy_class, type) and issubclass(strategy_class, Strategy)):
        raise ConfigError([Fault("strategy.name", "a subclass of hybrid_platform.strategies.Strategy", f"{path!r}")])
    return strategy_class


def build_strategy(settings: StrategySettings) -> Strategy[Any]:
    """Return a fresh strategy; raise ConfigError naming every wrong parameter."""
    strategy_class = load_strategy_class(settings.name)
    try:
        params = strategy_class.Params.model_validate(settings.params)
    except ValidationError as error:
        raise ConfigError(collect_faults(error, strategy_class.Params, "strategy.params")) from None
    try:
        return strategy_class(params)
    except Exception as error:  # a user's constructor may raise anything
        raise ConfigError(
            [Fault("strategy.params", "parameters that the strategy accepts", f"{type(error).__name__}: {error}")]
        ) from None
