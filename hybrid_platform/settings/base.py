"""Building blocks of the settings: frozen sections, exact numbers, clean symbols, listed faults."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from hybrid_platform.domain.decimals import canonical, parse_decimal
from hybrid_platform.domain.errors import Fault
from hybrid_platform.domain.instruments import clean_symbol

Exact = Annotated[Decimal, BeforeValidator(parse_decimal), PlainSerializer(canonical, return_type=str)]
"""An exact number, given as int, float (its shortest form counts), or string."""
Symbol = Annotated[str, BeforeValidator(clean_symbol)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Section(BaseModel):
    """Section of the settings, or parameters of a strategy: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation not in {bool, Any}:
            raise ValueError("a value that is not a boolean")
        return value


def collect_faults(error: ValidationError, model: type[BaseModel], prefix: str = "") -> Sequence[Fault]:
    """Return one fault per wrong setting of ``model``, with its path below ``prefix``."""
    faults: dict[str, Fault] = {}
    for item in error.errors(include_url=False):
        # pydantic appends the tags of union members to the path; keep only the keys that the user wrote.
        keys = [str(part) for part in item["loc"] if not _is_union_tag(str(part))]
        path = ".".join([prefix, *keys] if prefix else keys) or "settings"
        kind = item["type"]
        expected = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = expected.removeprefix("expected ").split(", got ")[0]
        if kind == "extra_forbidden":
            faults[path] = Fault(path, "no such setting" + _near(model, keys), shown(item["input"]))
            continue
        if kind == "missing":
            faults[path] = Fault(path, "a value", "nothing")
            continue
        if path in faults:
            expected = (
                f"{faults[path].expected}; or {expected}"
                if expected not in faults[path].expected
                else faults[path].expected
            )
        faults[path] = Fault(path, expected, shown(item["input"]))
    return list(faults.values())


def _is_union_tag(part: str) -> bool:
    return "[" in part or part in {"float", "int", "str", "bool"} or part.startswith(("constrained-", "function-"))


def _near(model: Any, keys: Sequence[str]) -> str:
    for key in keys[:-1]:
        field = model.model_fields.get(key)
        options = (
            [a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(a, "model_fields")]
            if field
            else []
        )
        if not options:
            return ""
        model = options[0]
    close = difflib.get_close_matches(keys[-1], list(model.model_fields), n=1)
    return f" (did you mean `{close[0]}`?)" if close else " (known: " + ", ".join(model.model_fields) + ")"


def shown(value: object) -> str:
    """Return a value in the form of error messages: one short line, never the full length of a secret.

    The middle is left out, because the last part of a path identifies the file.
    """
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:39]}…{text[-40:]}"
