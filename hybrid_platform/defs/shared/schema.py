"""Dagster's config schema of the settings, derived from their classes so that every key is defined once.

No key has a default here: a key that a launch leaves out stays open for the environment and the settings' defaults.
Preflight checks the bounds and reports every fault at once. Why this is not a `ConfigurableResource`: decision 073.
"""

from __future__ import annotations

import types
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic.fields import FieldInfo

from hybrid_platform.settings.base import Section
from hybrid_platform.settings.descriptions import meanings_of
from hybrid_platform.settings.feeds import Feed


def build_config_fields(model: type[Section]) -> dict[str, dg.Field]:
    """Return Dagster fields, none required, for every setting of a class."""
    meanings = meanings_of(model)
    return {name: _build_field(meanings.get(name, name), info) for name, info in model.model_fields.items()}


def _build_field(meaning: str, info: FieldInfo) -> dg.Field:
    default = info.get_default(call_default_factory=True, validated_data={})
    stated = "" if isinstance(default, Section) else f" (default: {_render_default(default)})"
    description = " ".join(meaning.replace("``", "`").split()) + stated
    return dg.Field(_config_type(info.annotation), is_required=False, description=description)


def _render_default(default: object) -> str:
    if default is None:
        return "null"
    return default.value if isinstance(default, Enum) else str(default)


def _config_type(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _config_type(arguments[0])
    if origin in {Union, types.UnionType}:
        some = [argument for argument in arguments if argument is not type(None)]
        inner = _config_type(some[0]) if len(some) == 1 else dg.Any
        return dg.Noneable(inner) if len(some) < len(arguments) and inner is not dg.Any else inner
    if origin is Literal:
        return _build_enum("_".join(map(str, arguments)), arguments)
    if not isinstance(annotation, type):
        return dg.Any
    if annotation is Feed:
        return dg.Selector(  # type: ignore[no-untyped-call]
            {name: dg.Field(_build_option(info), is_required=False) for name, info in Feed.model_fields.items()}
        )
    if issubclass(annotation, Section):
        return dg.Shape(build_config_fields(annotation))  # type: ignore[no-untyped-call]
    if issubclass(annotation, Enum):
        return _build_enum(annotation.__name__, [member.value for member in annotation])
    return {bool: dg.Bool, int: dg.Int, float: dg.Float, str: dg.String}.get(annotation, dg.Any)


def _build_option(info: FieldInfo) -> Any:
    """Return the shape of a feed's class without its None: naming a feed selects it."""
    model = next(a for a in get_args(info.annotation) if isinstance(a, type) and issubclass(a, Section))
    return dg.Shape(build_config_fields(model))  # type: ignore[no-untyped-call]


def _build_enum(name: str, values: Any) -> Any:
    return dg.Enum(name, [dg.EnumValue(str(value)) for value in values])
