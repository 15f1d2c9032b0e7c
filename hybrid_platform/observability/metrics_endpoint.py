"""Serves a session's metrics on 127.0.0.1 while it runs, and frees the port when it ends.

in: ``metrics.port`` · out: Prometheus' text at ``/metrics``. It runs in the op's process, never in the guarded
one, and harms no session: a port that is taken is a warning in log and evidence.
"""

from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any

from hybrid_platform.evidence.records import MetricsFigures
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.observability.session_view import SessionView
from hybrid_platform.storage.location import sqlite_path

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

HOST, PATH = "127.0.0.1", "/metrics"
REQUEST_SECONDS = 5.0
"""How long a client may be silent."""
MAX_CONNECTIONS = 8
POLL_SECONDS = 0.25


class Watching:
    """One session's metrics, if it has a port for them; close it at the session's end."""

    def __init__(self, context: RunContext, session: SessionView) -> None:
        """Begin to serve; never raises for a port that cannot be had."""
        self._port = context.settings.metrics.port
        self._server: _Server | None = None
        self._error = ""
        if self._port is None:
            return
        try:
            self._server = _Server(self._port, _registry(context, session))
        except OSError as error:
            self._error = f"{HOST}:{self._port}: {error.strerror or error}"
            context.log.warning("metrics are not served", port=self._port, error=self._error)
            return
        context.log.info("metrics are served", url=f"http://{HOST}:{self._server.server_port}{PATH}")
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def figures(self) -> MetricsFigures | None:
        """Return how often they were asked for; None where no port was set."""
        if self._port is None:
            return None
        scrapes, failed = (self._server.scrapes, self._server.failed) if self._server else (0, 0)
        return MetricsFigures(self._port, scrapes, failed, self._error)

    def close(self) -> None:
        """Free the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


def _registry(context: RunContext, session: SessionView) -> CollectorRegistry:
    # Prometheus' client is loaded only where somebody asks for it.
    from prometheus_client import CollectorRegistry
    from prometheus_client.process_collector import ProcessCollector

    from hybrid_platform.observability.metrics import SessionCollector

    settings, code = context.settings, context.code
    about = {
        "session_id": context.session_id,
        "run_id": context.run_id,
        "mode": settings.mode.value,
        "strategy": settings.strategy.name,
        "feed": settings.feed.kind,
        "version": code.version,
        "commit": code.commit or "",
        "config_sha256": settings.config_sha256,
    }
    registry = CollectorRegistry()
    collector = SessionCollector(
        session,
        about,
        started_ns=context.clock.wall_ns(),
        database=sqlite_path(context.database_url),
        read_pressure=lambda: read_pressure(context.clock),
    )
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    allow_reuse_port = False
    """Two sessions must never share one."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        from prometheus_client.exposition import choose_encoder

        self.registry, self.choose_encoder = registry, choose_encoder
        self.scrapes = self.failed = 0
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._counting = threading.Lock()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind, and ask no name service who we are."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def count(self, *, failed: bool) -> None:
        """Count an answer."""
        with self._counting:
            self.scrapes += 1
            self.failed += failed

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, unless there are too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._room.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is its own affair, and the run's output is the session's log."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    server_version, sys_version = "hybrid_platform", ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, explain=f"there is {PATH} only")
            return
        encode, content_type = self.server.choose_encoder(self.headers.get("Accept", ""))
        try:
            body = encode(self.server.registry)
        except Exception:
            self.server.count(failed=True)
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.count(failed=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
