"""Endpoint that serves a session's metrics to Prometheus on 127.0.0.1 while the session runs.

In: ``metrics.port``. Out: Prometheus' text format, by `prometheus_client`. The endpoint runs in the parent process,
never in the sandbox, and does not affect the session: a port that is taken is a warning in log and evidence.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from threading import Thread
from typing import TYPE_CHECKING, Any

from hybrid_platform.evidence.records import MetricsFigures
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.observability.session_view import SessionView
from hybrid_platform.storage.location import sqlite_path

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

HOST, PATH = "127.0.0.1", "/metrics"
CLIENT_TIMEOUT_S = 5.0
"""How long a client may be silent."""


class MetricsEndpoint:
    """Metrics of one session, if a port is set; call `start` once and `close` at the session's end."""

    def __init__(self, context: RunContext, session: SessionView) -> None:
        self._context = context
        self._session = session
        self._port = context.settings.metrics.port
        self._served: tuple[WSGIServer, Thread] | None = None
        self._scrapes = _ScrapeCounter()
        self._error = ""

    def start(self) -> None:
        """Start to serve; a port that cannot be bound is logged, not raised."""
        if self._port is None:
            return
        # The client library is imported only if metrics are requested.
        from prometheus_client import CollectorRegistry, start_http_server
        from prometheus_client.process_collector import ProcessCollector

        registry = CollectorRegistry()
        registry.register(self._scrapes.wrap(self._collector()))
        ProcessCollector(registry=registry)
        log = self._context.log
        try:
            server, thread = start_http_server(self._port, HOST, registry)
        except OSError as error:
            self._error = f"{HOST}:{self._port}: {error.strerror or error}"
            log.warning("metrics are not served", port=self._port, error=self._error)
            return
        # Neither a client that disconnects early nor a failed scrape may print a traceback into the session's output.
        server.handle_error = _ignore  # type: ignore[method-assign]
        quiet = {"timeout": CLIENT_TIMEOUT_S, "get_stderr": lambda _: io.StringIO()}
        server.RequestHandlerClass = type("QuietHandler", (server.RequestHandlerClass,), quiet)  # type: ignore[arg-type]
        self._served = server, thread
        log.info("metrics are served", url=f"http://{HOST}:{server.server_port}{PATH}")

    def figures(self) -> MetricsFigures | None:
        """Return the counts of scrapes for the evidence; None if no port is set."""
        if self._port is None:
            return None
        return MetricsFigures(self._port, self._scrapes.count, self._scrapes.failed, self._error)

    def close(self) -> None:
        """Stop serving and release the port."""
        if self._served is not None:
            server, thread = self._served
            server.shutdown()
            server.server_close()
            thread.join()

    def _collector(self) -> Collector:
        from hybrid_platform.observability.metrics import SessionCollector

        context, settings, code = self._context, self._context.settings, self._context.code
        labels = {
            "session_id": context.session_id,
            "run_id": context.run_id,
            "mode": settings.mode.value,
            "strategy": settings.strategy.name,
            "feed": settings.feed.kind,
            "version": code.version,
            "commit": code.commit or "",
            "config_sha256": settings.config_sha256,
        }
        return SessionCollector(
            self._session,
            labels,
            started_ns=context.clock.wall_ns(),
            database=sqlite_path(context.database_url),
            read_pressure=lambda: read_pressure(context.clock),
        )


class _ScrapeCounter:
    """Counts scrapes, and those that failed."""

    def __init__(self) -> None:
        self.count = self.failed = 0

    def wrap(self, collector: Collector) -> Collector:
        """Return a collector that counts each collection of ``collector``."""
        from prometheus_client.registry import Collector

        counter = self

        class Counted(Collector):
            def collect(self) -> Iterator[Metric]:
                counter.count += 1
                try:
                    yield from collector.collect()
                except Exception:
                    counter.failed += 1
                    raise

            def describe(self) -> list[Metric]:
                # Without this method, the registry would collect once at registration.
                return []

        return Counted()


def _ignore(request: Any, client_address: Any) -> None:
    """Ignore an error of a connection."""
