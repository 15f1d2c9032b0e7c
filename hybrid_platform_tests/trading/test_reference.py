"""docs/trading.md describes what the code does: the code generates its tables."""

from __future__ import annotations

import pytest

from hybrid_platform.domain.orders import OrderStatus, VetoReason
from hybrid_platform.trading.assumptions import list_assumptions
from hybrid_platform.trading.reference import SECTIONS, regenerate
from hybrid_platform_tests.conftest import REPOSITORY
from hybrid_platform_tests.trading.market import make_settings

DOCUMENT = REPOSITORY / "docs" / "trading.md"


@pytest.mark.scenario("S10")
def test_the_generated_tables_are_up_to_date():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert regenerate(text) == text, "run: python -m hybrid_platform.trading.reference docs/trading.md"
    for name in SECTIONS:
        assert f"<!-- generated: {name} -->" in text


def test_every_code_and_every_state_is_explained():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"| `{reason.value}` |" in text for reason in VetoReason)
    assert all(f"| {status.value}" in text for status in OrderStatus)


def test_an_unknown_section_is_an_error():
    with pytest.raises(KeyError):
        regenerate("<!-- generated: weather -->\n<!-- end -->")


def test_assumptions_show_the_stated_settings():
    stated = make_settings("PAPER", paper={"latency": "home", "report_ms": "1.5", "limit_fills": "at"})
    values = {item.name: item.value for item in list_assumptions(stated)}
    assert (values["submit_ms"], values["report_ms"], values["limit_fills"]) == ("40", "1.5", "10 mean prints ahead")
    assert "resting_orders" in {item.name for item in list_assumptions(make_settings())}
