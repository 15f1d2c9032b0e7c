"""Metrics of a running session: what Prometheus reads is what the ledger counts, and no scrape harms the session."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.evidence.records import MetricsFigures
from hybrid_platform.observability.metrics import FAMILIES, MAX_VALUES, OTHER, Buckets
from hybrid_platform.observability.metrics_endpoint import HOST
from hybrid_platform.session.commands import CommandFile
from hybrid_platform_tests.observability.watched import Watched, samples, scrape, started, value
from hybrid_platform_tests.support import REPOSITORY, run_in_process, synthetic_feed

OPERATIONS = REPOSITORY / "docs" / "operations.md"
DEPLOY = REPOSITORY / "deploy"
PROMETHEUS = DEPLOY / "prometheus"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Watched, str, str]]:
    """A session that drained and is not closed yet, its last scrape, and one while it ran."""
    data = tmp_path_factory.mktemp("metrics") / "data"
    layers = [synthetic_feed(500, ticks=400), {"isolation": "process", "strategy": {"params": {"every": 4}}}]
    with started(data, *layers) as watched:
        running = watched.scrape()
        CommandFile(watched.run.data_dir, watched.run.clock).append(Command(CommandKind.HALT, "ann", "enough"))
        assert watched.shadow.wait(60)
        last = watched.scrape()
        url = watched.url
        watched.finish()
        with pytest.raises(urllib.error.URLError):
            scrape(url)
        yield watched, last, running


@pytest.mark.scenario("S6")
def test_scrape_equals_evidence(ended: tuple[Watched, str, str]):
    watched, last, _ = ended
    found, evidence = samples(last), watched.evidence
    assert value(found, "ticks_total") == evidence.counters["tick_count"] == 400
    assert value(found, "signals_total") == evidence.counters["signal_count"] == 100
    assert value(found, "orders_total") == evidence.counters["shadow_orders"]
    assert value(found, "trades_total") == evidence.counters["trade_count"]
    assert value(found, "vetoes_total", reason="HALTED") == evidence.vetoes["HALTED"] > 0
    assert value(found, "vetoes_total", reason="STALE_DATA") == 0, "a reason that did not occur begins at 0"
    assert value(found, "persist_rows_total") == evidence.counters["persist_count"]
    assert value(found, "heartbeats_total") == evidence.heartbeats.sent
    for channel in evidence.channels:
        assert value(found, "channel_sent_total", channel=channel.name) == channel.sent
        dropped = value(found, "channel_dropped_total", channel=channel.name, policy=channel.policy)
        assert dropped == channel.dropped
        assert value(found, "channel_capacity_events", channel=channel.name) == channel.capacity
    assert value(found, "decision_latency_seconds_count") == 100
    assert value(found, "feed_lag_seconds_bucket", le="+Inf") > 0
    assert value(found, "commit_duration_seconds_count") > 0
    assert value(found, "database_wal_bytes") > 0


def test_state_and_identity(ended: tuple[Watched, str, str]):
    watched, last, running = ended
    before, after = samples(running), samples(last)
    assert value(before, "session_state", state="RUNNING") == value(after, "session_state", state="DRAINED") == 1
    assert value(after, "session_state", state="RUNNING") == 0
    assert value(before, "trading_state", state="ACTIVE") == value(after, "trading_state", state="HALTED") == 1
    assert value(after, "trading_halts_total") == 1
    (labels,) = (dict(labels) for name, labels in after if name == "hybrid_platform_session_info")
    assert labels["session_id"] == watched.run.session_id
    assert (labels["mode"], labels["strategy"], labels["feed"]) == ("SHADOW", "periodic", "synthetic")
    assert labels["config_sha256"] == watched.run.settings.config_sha256
    assert labels["version"] == watched.run.code.version


@pytest.mark.scenario("I1")
def test_sandboxed_process_holds_no_socket(ended: tuple[Watched, str, str]):
    isolation = ended[0].evidence.isolation
    assert isolation.end is not None and isolation.end.sockets == 0
    assert not isolation.denied_attempts


def test_scrapes_are_counted_in_the_evidence(ended: tuple[Watched, str, str]):
    assert ended[0].evidence.metrics == MetricsFigures(port=0, scrapes=2)


def test_names_and_help_of_every_metric(ended: tuple[Watched, str, str]):
    text = ended[1]
    declared = dict(re.findall(r"^# TYPE (hybrid_platform_\S+) (\w+)$", text, re.MULTILINE))
    assert len(declared) == len(FAMILIES)
    for name, kind in declared.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert re.search(rf"^# HELP {name} [A-Z0-9].*\.$", text, re.MULTILINE), name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_no_fault(ended: tuple[Watched, str, str]):
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=ended[1], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    for command in (["check", "config"], ["check", "rules"]):
        name = "prometheus.yml" if command[1] == "config" else "hybrid-platform.rules.yml"
        done = subprocess.run(
            ["promtool", *command, str(PROMETHEUS / name)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_documented_table_equals_the_collector(ended: tuple[Watched, str, str]):
    rows = []
    for family in FAMILIES:
        ending = {"counter": "_total", "info": "_info"}.get(family.kind, "")
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `hybrid_platform_{family.name}{ending}` | {family.kind} | {labels} | {family.help} |")
    table = [line for line in OPERATIONS.read_text().splitlines() if line.startswith("| `hybrid_platform_")]
    assert table == rows, "\n".join(rows)


def test_alerts_and_dashboard_use_existing_metrics(ended: tuple[Watched, str, str]):
    told = {name for name, _ in samples(ended[1])} | {
        "hybrid_platform_isolation_denied_total",
        "hybrid_platform_feed_rejected_total",
    }
    asked = {
        name
        for path in DEPLOY.rglob("*")
        if path.suffix in {".yml", ".json"}
        for name in re.findall(r"\b(?:hybrid_platform|process)_\w+", path.read_text())
    }
    assert len(asked) > 10
    assert asked - {"hybrid_platform_session"} <= told


# What comes from outside


def test_external_label_values_are_escaped_and_bounded(tmp_path: Path):
    with started(tmp_path / "data", synthetic_feed(50, ticks=20)) as watched:
        ignored = watched.shadow.pipeline.counters.feed.ignored
        hostile = 'a"b\\c\n# TYPE x counter\u202e' + "x" * 1000
        ignored[hostile] += 3
        for n in range(1000):
            ignored[f"kind {n}"] += 1
        found = samples(watched.scrape())
        kinds = {
            dict(labels)["kind"]: count for (name, labels), count in found.items() if name.endswith("_ignored_total")
        }
        assert len(kinds) == MAX_VALUES + 1
        assert kinds[OTHER] == 1000 - (MAX_VALUES - 1)
        assert all(len(kind) <= 60 and kind.isprintable() for kind in kinds)
        assert not any(name == "x" for name, _ in found)
        watched.finish()


def test_silent_clients_and_other_methods_do_no_harm(tmp_path: Path):
    """Connections that send nothing do not delay a scrape, and only GET is answered with metrics."""
    with started(tmp_path / "data", synthetic_feed(50, ticks=30)) as watched:
        port = int(watched.url.rpartition(":")[2].partition("/")[0])
        clients = [socket.create_connection((HOST, port)) for _ in range(8)]
        try:
            assert value(samples(watched.scrape()), "ticks_total") >= 1
            for method, path, status in (("GET", "/metrics?x=1", 200), ("POST", "/metrics", 405)):
                connection = HTTPConnection(HOST, port, timeout=60)
                connection.request(method, path)
                assert connection.getresponse().status == status
                connection.close()
        finally:
            for each in clients:
                each.close()
        evidence = watched.finish()
        assert evidence.exit_code == 0
        assert evidence.metrics is not None and evidence.metrics.failed == 0


def test_failed_scrape_is_counted_and_harmless(tmp_path: Path):
    with started(tmp_path / "data", synthetic_feed(50, ticks=20)) as watched:
        url = watched.url
        watched.shadow.pipeline.heartbeats.longest_late_ms = None  # type: ignore[assignment]
        with pytest.raises(urllib.error.HTTPError) as answer:
            scrape(url)
        assert answer.value.code == 500
        watched.shadow.pipeline.heartbeats.longest_late_ms = 0
        evidence = watched.finish()
        assert evidence.exit_code == 0
        assert evidence.metrics == MetricsFigures(port=0, scrapes=1, failed=1)


# The port


def test_taken_port_is_a_warning(tmp_path: Path):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_in_process(
            tmp_path / "data",
            synthetic_feed("max", ticks=20),
            {"isolation": "thread", "metrics": {"port": port}},
            with_report=False,
        )
    assert ended.code == 0, ended.output
    (line,) = ended.logged("metrics are not served")
    assert (line["level"], line["port"]) == ("warning", port)
    assert ended.evidence("session")["metrics"]["error"].startswith(f"127.0.0.1:{port}: Address already in use")


def test_port_is_released_at_the_end(tmp_path: Path):
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        with started(tmp_path / "data", synthetic_feed(50, ticks=10), {"metrics": {"port": port}}) as watched:
            assert value(samples(watched.scrape()), "session_state", state="RUNNING") == 1
            watched.finish()
    with started(tmp_path / "data", synthetic_feed("max", ticks=10), {"metrics": {"port": None}}) as watched:
        assert watched.finish().metrics is None
        assert not watched.logged("metrics are served")


def test_only_this_machine_is_served(tmp_path: Path):
    with started(tmp_path / "data", synthetic_feed(50, ticks=10)) as watched:
        served = watched.shadow._session._parts.metrics._served
        assert served is not None and served[0].socket.getsockname()[0] == "127.0.0.1"
        watched.finish()


# Histograms


def test_histogram_buckets_are_documented(ended: tuple[Watched, str, str]):
    text = " ".join(OPERATIONS.read_text().split())
    for family in FAMILIES:
        if isinstance(family, Buckets):
            bounds = re.findall(rf"{family.name}_bucket{{le=\"([^\"+]+)\"}}", ended[1])
            assert f"`{family.name}`: {', '.join(f'{float(bound):g}' for bound in bounds)}" in text, family.name


def test_dashboard_is_complete():
    dashboard = json.loads((DEPLOY / "grafana" / "hybrid-platform.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"] and panel["datasource"]["uid"] == "${source}"
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_every_alert_is_documented():
    rules = yaml.safe_load((PROMETHEUS / "hybrid-platform.rules.yml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"]]
    assert re.findall(r"^\| `(HybridPlatform\w+)` \|", OPERATIONS.read_text(), re.MULTILINE) == alerts
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
