"""Session that tests start, scrape while it runs, and finish; parser of the scraped metrics."""

from __future__ import annotations

import io
import json
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.evidence.records import SessionEvidence
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.database import verify_database
from hybrid_platform.gates.preflight import preflight
from hybrid_platform.run.open import open_run
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.settings.loading import load_settings
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, Settings, log_lines, merge_settings, wait_until

Sample = tuple[str, tuple[tuple[str, str], ...]]


class Watched:
    """A running session with its metrics."""

    def __init__(self, run: RunContext, shadow: SessionRunner, output: io.StringIO) -> None:
        self.run, self.shadow, self._output = run, shadow, output
        self.evidence: SessionEvidence

    def logged(self, message: str) -> list[dict[str, object]]:
        return [line for line in log_lines(self._output.getvalue()) if line["message"] == message]

    @property
    def url(self) -> str:
        wait_until(lambda: self.logged("metrics are served"), "metrics")
        return str(self.logged("metrics are served")[0]["url"])

    def scrape(self) -> str:
        return scrape(self.url)

    def finish(self) -> SessionEvidence:
        assert self.shadow.wait(PROCESS_TIMEOUT_S)
        self.evidence = self.shadow.finish()
        return self.evidence


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PROCESS_TIMEOUT_S) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return str(answer.read().decode())


def samples(text: str) -> dict[Sample, float]:
    """Return every sample, with its name and labels as key, from Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found[f"hybrid_platform_{name}", tuple(sorted(labels.items()))]


@contextmanager
def started(data_dir: Path, *layers: Settings) -> Iterator[Watched]:
    """Start a session whose metrics are served on any free port."""
    base = {"data_dir": str(data_dir), "isolation": "thread", "metrics": {"port": 0}}
    settings = load_settings(json.loads(json.dumps(merge_settings(base, *layers))), environ={})
    clock, output = SystemClock(), io.StringIO()
    with open_run(settings, run_id=str(uuid.uuid4()), created_ns=clock.wall_ns(), clock=clock, stream=output) as run:
        assert not preflight(run).exit_code
        assert not verify_database(run).exit_code
        runner = SessionRunner(run)
        runner.start()
        yield Watched(run, runner, output)
