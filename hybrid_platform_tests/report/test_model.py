"""The view model: both back ends show all of it."""

from __future__ import annotations

from collections.abc import Iterable

from hybrid_platform.report import html, markdown
from hybrid_platform.report.attachments import read_assets
from hybrid_platform.report.blocks import Block, Columns, Note, Table
from hybrid_platform.report.model import build_report
from hybrid_platform.report.trading import read_trading
from hybrid_platform_tests.report.pages import Page


def collect_values(blocks: Iterable[Block]) -> Iterable[object]:
    """Yield every value that both reports must show."""
    for block in blocks:
        match block:
            case Table(is_checklist=True):
                yield from (value for id_, _, claim, _, actual in block.rows for value in (id_, claim, actual))
            case Table():
                yield from (value for row in (block.heads, *block.rows) for value in row)
            case Columns():
                yield from (table.title for table in block.tables)
                yield from collect_values(block.tables)
            case Note():
                yield block.text


def test_both_reports_show_every_value(ended, session_id, records):
    report = build_report(records, read_assets(ended, session_id, records, "key"), read_trading(ended, session_id))
    page, text = Page(html.render_report(report)).text, markdown.render_report(report)
    values = list(collect_values(block for section in report.sections for block in section.blocks))
    assert len(values) > 400
    for value in (*values, *(section.title for section in report.sections), report.subtitle):
        assert markdown.cell(value) in text
        if not isinstance(value, bool | int) and value not in (None, ""):
            assert " ".join(str(value).replace("NOT_RUN", "NOT RUN").split()) in page


def test_both_reports_have_the_same_sections_of_an_unfinished_run(ended, session_id, records):
    files = records._replace(session=None, postflight=None)
    report = build_report(files, read_assets(ended, session_id, files, None))
    empty = sum(not section.blocks for section in report.sections)
    assert empty > 5
    assert markdown.render_report(report).count("The run did not get so far.") == empty
    assert Page(html.render_report(report)).text.count("The run did not get so far.") == empty
