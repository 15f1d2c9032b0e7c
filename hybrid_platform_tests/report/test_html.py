"""The page: self-contained, verdict first, every figure from a record, and nothing from outside is markup in it."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest

from hybrid_platform.domain.isolation import Denied, Kind
from hybrid_platform.domain.records import Verdict
from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.files import sha256_bytes
from hybrid_platform.evidence.records import LiveCondition, SessionFiles, parse_session_files
from hybrid_platform.report.assets import ReportAssets, read_assets
from hybrid_platform.report.diagrams import Frame, Node, flow, plot
from hybrid_platform.report.html import render_report
from hybrid_platform.report.model import build_report
from hybrid_platform.report.timeline import Timeline, read_timeline
from hybrid_platform.report.trading import Trading, read_trading
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.report.pages import Page
from hybrid_platform_tests.support import run_here, synthetic

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
def ended(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """The data directory of a session that ended well."""
    folder = tmp_path_factory.mktemp("page") / "data"
    here = run_here(folder, {"seconds": 1.5, "heartbeat": {"interval_seconds": 0.5}}, synthetic(100))
    assert here.code == 0, here.output
    return DataDir(folder)


@pytest.fixture(scope="module")
def session_id(ended: DataDir) -> str:
    return next(path.name for path in (ended.root / "evidence").iterdir() if path.name != "checks")


@pytest.fixture(scope="module")
def records(ended: DataDir, session_id: str) -> SessionFiles:
    return parse_session_files(lambda name: read_if_there(ended, f"evidence/{session_id}/{name}"))


@pytest.fixture(scope="module")
def html(ended: DataDir, session_id: str) -> str:
    return (ended.root / "evidence" / session_id / "report.html").read_text()


def page_of(files: SessionFiles, assets: ReportAssets, trading: Trading | None = None) -> str:
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


def test_the_page_asks_for_nothing_from_anywhere(html):
    page = Page(html)
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "iframe", "object", "embed", "form", "base", "video", "audio"}
    assert all(source.startswith("data:image/") for source in page.attributes("src"))
    assert page.attributes("href") == []
    assert "default-src 'none'" in page.attributes("content")[0]
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in html
    assert "url(" not in html


def test_the_verdict_comes_first_and_every_part_is_there(html, session_id):
    text = Page(html).text
    assert text.startswith(f"PASS SHADOW session {session_id}")
    parts = ["Gates", "Verification matrix", "Isolation", "Where every event went", "The host", "Trading", "Evidence"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_the_figures_are_the_records_own(html, records):
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


def test_the_digests_are_those_of_the_files_that_are_signed_with_it(html, ended, session_id):
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
    assert page_of(records, assets, read_trading(ended, session_id)) == html


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_from_outside_becomes_markup(records, hostile):
    page = page_of(tampered(records, hostile), ReportAssets())
    calm = page_of(tampered(records, "calm"), ReportAssets())
    assert Page(page).tags != []
    shape = [(tag, [name for name, _ in attrs]) for tag, attrs in Page(page).tags]
    assert shape == [(tag, [name for name, _ in attrs]) for tag, attrs in Page(calm).tags]
    for character in ("\u202e", "\u200b", "\x1b", "\r"):
        assert character not in page
    assert len(page) < 2 * len(calm) + 400_000
    assert Page(page).text.startswith("FAIL")


def test_a_run_that_did_not_get_far_has_a_page_too(records):
    for far in range(1, 4):
        files = SessionFiles(*(record if place < far else None for place, record in enumerate(records)))
        text = Page(page_of(files, ReportAssets())).text
        assert text.startswith("FAIL")
        assert "the run did not get to its end" in text
    with pytest.raises(ValueError, match="at least one"):
        page_of(SessionFiles(None, None, None, None), ReportAssets())


def test_pictures_are_inside_the_page_and_what_is_none_is_not(records, ended, session_id, tmp_path):
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
    sources = Page(page_of(records, assets)).attributes("src")
    assert sources == ["data:image/png;base64," + base64.b64encode(png).decode()]


def test_the_timeline_comes_from_the_chain_and_a_damaged_one_gives_none(ended, session_id):
    lines = (ended.root / "evidence" / session_id / "events.jsonl").read_bytes().splitlines(keepends=True)
    timeline = read_timeline(lines, session_id)
    assert len(timeline.lateness) >= 3
    assert len(timeline.pressure) >= 2
    assert all(later[0] >= earlier[0] for earlier, later in zip(timeline.ticks, timeline.ticks[1:], strict=False))
    assert read_timeline(lines[1:], session_id) == Timeline()
    assert read_timeline([b'{"n": 1}\n'], session_id) == Timeline()


@pytest.mark.parametrize("count", [0, 1, 2, 50, 5_000])
def test_a_plot_holds_any_number_of_points_and_its_highest(count):
    points = [(float(at), 99.0 if at == count // 2 else 1.0) for at in range(count)]
    picture = str(plot(points, label="a <plot>", limit=20))
    assert 'aria-label="a &lt;plot&gt;"' in picture
    assert len(picture) < 40_000
    assert ("nan" in picture, "inf" in picture) == (False, False)
    assert (">100<" in picture) == bool(count)


def test_labels_of_the_flow_are_text():
    node = Node(0, 0, "<script>", ("a & b",), "bad\u202e")
    picture = str(
        flow([node, node._replace(x=200.0)], [(0, 1, "<1>")], Frame((0, 1), "<f>"), label="x", width=9, height=9)
    )
    assert "<script>" not in picture
    assert "&lt;script&gt;" in picture
    assert "\u202e" not in picture


def test_a_page_is_written_beside_the_report(ended, session_id):
    folder = Path(ended.root, "evidence", session_id)
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o600
    assert (folder / "report.md").exists()
