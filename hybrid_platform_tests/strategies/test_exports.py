"""The names that a strategy author imports, as docs/strategies.md shows them."""

from __future__ import annotations

import re
import sys
import types

import pytest

from hybrid_platform import strategies
from hybrid_platform_tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "strategies.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r"class (\w+)", text)[-1])
def test_examples_run_with_the_imports_they_show(example, monkeypatch):
    """Every example defines one strategy, and imports nothing of the platform but `hybrid_platform.strategies`."""
    module = types.ModuleType("mystrategy")
    monkeypatch.setitem(sys.modules, "mystrategy", module)
    exec(example, vars(module))
    (found,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, strategies.Strategy) and value.__module__ == "mystrategy"
    ]
    assert isinstance(found(found.Params()), strategies.Strategy)
    assert set(re.findall(r"hybrid_platform[.\w]*", example)) == {"hybrid_platform.strategies"}


def test_all_names_are_exported():
    assert all(hasattr(strategies, name) for name in strategies.__all__)
