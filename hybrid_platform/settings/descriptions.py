"""Descriptions of the settings: the string below each one in the source of its class, read on demand.

Pydantic's ``use_attribute_docstrings`` would read the source at every import of the settings, in every process.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from hybrid_platform.settings.base import Section


def meanings_of(model: type[Section]) -> dict[str, str]:
    """Return the description of each setting of a class and its bases; empty if the source is not available."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, Section):
            found |= _texts(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Return class -> setting -> description of an imported module."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError):
        return {}
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return {node.name: dict(_of_class(node)) for node in classes}


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield field.target.id, inspect.cleandoc(value.value)
