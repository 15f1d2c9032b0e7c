"""Webhook receiver on this machine that keeps its requests and gives configured answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/services/T0SECRET/B0SECRET/x9y8z7w6v5u4t3s2"
"""A path like Slack's: it contains the secret that permits posting."""


class Receiver:
    """The requests so far, and the answers to give."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}{PATH}"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status: Callable[[int], int] = lambda tries: 200
        self.location = ""
        self.answers = threading.Event()
        """While it is not set, the receiver never answers."""
        self.answers.set()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive requests until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == PATH
            kept.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            kept.headers.append(dict(self.headers))
            if not kept.answers.is_set():
                kept.answers.wait(60)
                return
            self.send_response(kept.status(len(kept.bodies)))
            if kept.location:
                self.send_header("Location", kept.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        kept.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
