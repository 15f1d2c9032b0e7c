"""`report.html`: self-contained, verdict first, every figure from a record, and text from outside stays text."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from hybrid_platform.domain.isolation import Denied, Kind
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.files import sha256_bytes
from hybrid_platform.evidence.records import LiveCondition, SessionFiles
from hybrid_platform.report.attachments import ReportAssets, read_assets
from hybrid_platform.report.html import render_report
from hybrid_platform.report.model import build_report
from hybrid_platform.report.trading import Trading, read_trading
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.report.pages import Page

HOSTILE = (
    '<img src=x onerror="alert(1)">',
    '"><script>alert(1)</script>',
    "</style><script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "SOL\u202eUSDC\u200b",
    "line\r\nline",
    "\x1b[31mred",
    "=HYPERLINK('http://x')",
    "x" * 10_000,
)


@pytest.fixture(scope="module")
def html(ended: DataDir, session_id: str) -> str:
    return (ended.root / "evidence" / session_id / "report.html").read_text()


def render_page(files: SessionFiles, assets: ReportAssets, trading: Trading | None = None) -> str:
    return render_report(build_report(files, assets, trading))


def tampered(records: SessionFiles, hostile: str) -> SessionFiles:
    """The same records, with something hostile wherever the outside can put text."""
    replace = msgspec.structs.replace
    session, postflight, preflight = records.session, records.postflight, records.preflight
    isolation = replace(
        session.isolation,
        why=(hostile,),
        faults=(hostile,),
        ending=hostile,
        denied=(Denied("kernel", Kind.SOCKET, hostile, hostile, 1),),
    )
    return SessionFiles(
        replace(
            preflight,
            run_id=hostile,
            live_gate=(LiveCondition("x", False, hostile),),
            system=replace(preflight.system, hostname=hostile, kernel=hostile),
            healthcheck=replace(preflight.healthcheck, why=hostile),
            settings={**preflight.settings, "risk": {"usd_rates": {hostile: hostile}}},
        ),
        records.pragma,
        replace(
            session,
            strategy={"name": hostile, "params": {hostile: hostile}},
            feed={hostile: {}},
            inputs=({"name": hostile, "bytes": 1, "sha256": hostile},),
            exit_reason=hostile,
            failure=hostile,
            reasons=(hostile,),
            vetoes={hostile: 3},
            rejected={hostile: 4},
            isolation=isolation,
            ledger=replace(session.ledger, faults=(hostile,), balances=False),
        ),
        replace(
            postflight,
            verdict=Verdict.FAIL,
            reasons=(hostile,),
            log_lines=(hostile,),
            proofs=tuple(replace(each, expected=hostile, actual=hostile) for each in postflight.proofs),
        ),
    )


def test_the_page_makes_no_request(html):
    page = Page(html)
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio"}
    assert all(source.startswith("data:image/") for source in page.attributes("src"))
    assert page.attributes("href") == []
    assert "default-src 'none'" in page.attributes("content")[0]
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in html
    assert "url(" not in html


def test_the_verdict_comes_first_and_every_section_follows(html, session_id):
    text = Page(html).text
    assert text.startswith(f"PASS SHADOW session {session_id}")
    parts = ["Gates", "Verification matrix", "Isolation", "Where every event went", "The host", "Trading", "Evidence"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_the_figures_are_those_of_the_records(html, records):
    text = Page(html).text
    session = records.session
    assert f"{session.counters['tick_count']:,} ticks" in text
    assert session.signals.sha256 in text
    assert records.preflight.trading_sha256 in text
    for row in session.ledger.rows:
        assert f"{row.kind} {row.name} {row.reason} {row.count:,}" in text
    for gate in (proof for proof in records.postflight.proofs if proof.id.startswith("G")):
        assert f"{gate.id} PASS {gate.claim}" in text
    for table, count in records.postflight.counted.items():
        assert f"rows in {table} {count:,}" in text


def test_the_page_shows_digests_of_all_signed_files(html, ended, session_id):
    text = Page(html).text
    folder = ended.root / "evidence" / session_id
    for path in folder.iterdir():
        if path.is_file() and path.name not in {"report.md", "report.html", "manifest.json", "bundle.dsse.json"}:
            assert f"{path.name} {sha256_bytes(path.read_bytes())}" in text
    key = next((ended.root / "keys").glob("signing-*.pub"))
    assert f"signed by {key.stem.removeprefix('signing-')}" in text


def test_the_same_records_give_the_same_page(html, ended, session_id, records):
    keyid = html[html.index("signed by</td><td>") + len("signed by</td><td>") :][:64]
    assets = read_assets(ended, session_id, records, keyid)
    assert render_page(records, assets, read_trading(ended, session_id)) == html


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_from_outside_never_becomes_markup(records, hostile):
    page = render_page(tampered(records, hostile), ReportAssets())
    calm = render_page(tampered(records, "calm"), ReportAssets())
    assert Page(page).tags != []
    shape = [(tag, [name for name, _ in attrs]) for tag, attrs in Page(page).tags]
    assert shape == [(tag, [name for name, _ in attrs]) for tag, attrs in Page(calm).tags]
    for character in ("\u202e", "\u200b", "\x1b", "\r"):
        assert character not in page
    assert len(page) < 2 * len(calm) + 400_000
    assert Page(page).text.startswith("FAIL")


def test_an_incomplete_run_has_a_page(records):
    for far in range(1, 4):
        files = SessionFiles(*(record if place < far else None for place, record in enumerate(records)))
        text = Page(render_page(files, ReportAssets())).text
        assert text.startswith("FAIL")
        assert "the run did not get to its end" in text
    with pytest.raises(ValueError, match="at least one"):
        render_page(SessionFiles(None, None, None, None), ReportAssets())


def test_images_are_embedded_in_the_page(records, ended, session_id, tmp_path):
    """Files that are not images, and images that are too large, are left out."""
    png = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    data = DataDir(tmp_path)
    folder = f"evidence/{session_id}"
    data.write_atomic(f"{folder}/preflight.json", b"{}")
    data.write_atomic(f"{folder}/plots/equity.png", png)
    data.write_atomic(f"{folder}/plots/script.html", b"<script>")
    data.write_atomic(f"{folder}/plots/huge.png", b"x" * (5 * 1024 * 1024))
    assets = read_assets(data, session_id, records, None)
    assert [name for name, _ in assets.images] == ["equity.png"]
    sources = Page(render_page(records, assets)).attributes("src")
    assert sources == ["data:image/png;base64," + base64.b64encode(png).decode()]


def test_the_page_is_private_to_its_owner(ended, session_id):
    folder = Path(ended.root, "evidence", session_id)
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o600
    assert (folder / "report.md").exists()
