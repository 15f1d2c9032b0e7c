"""What every section of the settings is made of: a frozen model, exact numbers, clean symbols."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from hybrid_platform.domain.exact import canonical, parse_decimal
from hybrid_platform.domain.instruments import clean_symbol

Exact = Annotated[Decimal, BeforeValidator(parse_decimal), PlainSerializer(canonical, return_type=str)]
"""A number given as int, float (shortest form) or string, kept exact."""
Symbol = Annotated[str, BeforeValidator(clean_symbol)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class Section(BaseModel):
    """One section of the settings, or a strategy's parameters: frozen, and refusing what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_as_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation not in {bool, Any}:
            raise ValueError("no boolean")
        return value
