"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, UserDefinedType

from hybrid_platform.domain.exact import canonical


class ExactDecimal(TypeDecorator[Decimal]):
    """An exact number: canonical text on SQLite, which knows only floats, NUMERIC on PostgreSQL."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Choose the column's type."""
        return dialect.type_descriptor(sa.Numeric() if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Turn a Decimal into what the column holds."""
        return value if value is None or dialect.name == "postgresql" else exact_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Turn what the column holds into a Decimal."""
        return None if value is None else Decimal(value)


class TradeRef(UserDefinedType[int | str]):
    """A venue's trade id, kept as the integer or text it is; text where the database wants one type.

    SQLite's BLOB affinity is the one that converts nothing; a bare or ANY column would turn '1e5' into 100000.
    """

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        """Return the column's type on SQLite."""
        return "BLOB"


@compiles(TradeRef, "postgresql")
def _trade_ref_on_postgresql(_type: TradeRef, _compiler: object, **_kw: object) -> str:
    return "TEXT"


def exact_text(value: Decimal | None) -> str | None:
    """Return the canonical text of a number; raise ValueError for NaN and infinities."""
    if value is None:
        return None
    text = str(value)
    # Mostly it is canonical, or would be without the zeros at its end: found out in a third of the time.
    if "E" not in text:
        if text[-1] in "123456789" and "N" not in text:
            return text
        if "." in text and value:
            return text.rstrip("0").rstrip(".")
    if not value.is_finite():
        raise ValueError(f"expected a finite number, got {value}")
    return canonical(value)
