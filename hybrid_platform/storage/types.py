"""Column types for values that SQLite has no exact type for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, UserDefinedType

from hybrid_platform.domain.decimals import canonical


class ExactDecimal(TypeDecorator[Decimal]):
    """An exact number as canonical text: SQLite itself has only floats."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        """Convert a Decimal to the stored text."""
        return exact_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Convert the stored text to a Decimal."""
        return None if value is None else Decimal(value)


class TradeRef(UserDefinedType[int | str]):
    """A venue's trade id, kept as the integer or text that it is.

    BLOB is the affinity with which SQLite converts nothing; a bare or ANY column would turn '1e5' into 100000.
    """

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        """Return the column's type in SQL."""
        return "BLOB"


def exact_text(value: Decimal | None) -> str | None:
    """Return the canonical text of a number; raise ValueError for NaN and infinities."""
    if value is None:
        return None
    text = str(value)
    # Most values are already canonical, or are so without their trailing zeros: checking takes a third of the time.
    if "E" not in text:
        if text[-1] in "123456789" and "N" not in text:
            return text
        if "." in text and value:
            return text.rstrip("0").rstrip(".")
    if not value.is_finite():
        raise ValueError(f"expected a finite number, got {value}")
    return canonical(value)
