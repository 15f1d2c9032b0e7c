"""Derive Dagster's config schema from the settings' classes, so that every key is stated once.

Keys carry no default here: what a launch leaves out stays open for the environment and for the
defaults of `config`. Bounds are checked by preflight, which names every fault at once.
"""

from __future__ import annotations

import types
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic.fields import FieldInfo

from hybrid_platform.settings.base import Section
from hybrid_platform.settings.descriptions import meanings_of
from hybrid_platform.settings.session import Feed


def shape_of(model: type[Section]) -> dict[str, dg.Field]:
    """Return Dagster fields, none required, for every setting of a class."""
    meanings = meanings_of(model)
    return {name: _field(meanings.get(name, name), info) for name, info in model.model_fields.items()}


def _field(meaning: str, info: FieldInfo) -> dg.Field:
    default = info.get_default(call_default_factory=True, validated_data={})
    stated = "" if isinstance(default, Section) else f" (default: {_shown(default)})"
    description = " ".join(meaning.replace("``", "`").split()) + stated
    return dg.Field(_config_type(info.annotation), is_required=False, description=description)


def _shown(default: object) -> str:
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
        return _choice("_".join(map(str, arguments)), arguments)
    if not isinstance(annotation, type):
        return dg.Any
    if annotation is Feed:
        return dg.Selector(  # type: ignore[no-untyped-call]
            {name: dg.Field(_option(info), is_required=False) for name, info in Feed.model_fields.items()}
        )
    if issubclass(annotation, Section):
        return dg.Shape(shape_of(annotation))  # type: ignore[no-untyped-call]
    if issubclass(annotation, Enum):
        return _choice(annotation.__name__, [member.value for member in annotation])
    return {bool: dg.Bool, int: dg.Int, float: dg.Float, str: dg.String}.get(annotation, dg.Any)


def _option(info: FieldInfo) -> Any:
    """A feed's class without its None: naming a feed is choosing it."""
    model = next(a for a in get_args(info.annotation) if isinstance(a, type) and issubclass(a, Section))
    return dg.Shape(shape_of(model))  # type: ignore[no-untyped-call]


def _choice(name: str, values: Any) -> Any:
    return dg.Enum(name, [dg.EnumValue(str(value)) for value in values])
