"""Main module of the guarded children in these tests: does what its arguments name, as a strategy would."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import threading
import time

from hybrid_platform.sandbox.child import Sandbox, enter


def honest(guard: Sandbox) -> object:
    """Compute as a strategy does, with the libraries that strategies use."""
    import getpass
    import platform
    import random
    import uuid
    import zoneinfo
    from pathlib import Path

    import numpy
    import pandas
    import pyarrow

    assert Path.home() and getpass.getuser() and platform.platform() and uuid.uuid4() and random.random()
    assert zoneinfo.ZoneInfo("Europe/Berlin") and sorted(Path(__file__).parent.iterdir())
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # as a library's pool would
    table = pyarrow.table({"price": numpy.arange(5.0)})
    return float(pandas.Series(table["price"].to_numpy()).mean())


def rogue(guard: Sandbox) -> object:
    """Try the network once, from a named stage."""
    import socket

    said = []

    def strategy() -> None:
        guard.stage("strategy")
        try:
            socket.socket()
        except OSError as error:
            said.append(error.errno)

    thread = threading.Thread(target=strategy)
    thread.start()
    thread.join()
    return said


def careless(guard: Sandbox) -> object:
    """Let an error go uncaught in a thread: no attempt on anything."""
    thread = threading.Thread(target=lambda: 1 // 0)
    thread.start()
    thread.join()
    return "went on"


def look_around(guard: Sandbox) -> object:
    """Tell what a fresh process finds of its parent."""
    return {
        "environment": dict(os.environ),
        "hash": hash("tick"),
        "path": sys.path,
        "leader": os.getsid(0) == os.getpid(),
        "dumps": not sys.dont_write_bytecode,
    }


def echo(guard: Sandbox) -> object:
    """Return what came down until its end."""
    said = b""
    while chunk := os.read(guard.pipes["ticks"], 4096):
        said += chunk
    return said.decode()


def forge(guard: Sandbox) -> object:
    """Say at the end what the guard would not."""
    from hybrid_platform.domain.isolation import Attempt, Denied, Kind
    from hybrid_platform.sandbox.protocol import Tested

    guard._hook.counts = lambda: (
        Denied("kernel", Kind.SOCKET, "connect", "x", 1),
        Denied("audit-hook", Kind.SOCKET, "socket.connect", "<b>\x1b[31m" * 20, 1),
        Denied("audit-hook", Kind.SOCKET, "socket.connect", "y", -5),
    )
    guard._test = lambda: Tested((Attempt("connect", Kind.SOCKET, "EPERM", "EPERM"),), hook_alive=True)
    return "forged"


def kill_itself(guard: Sandbox) -> object:
    """Die as by an out-of-memory killer."""
    return os.kill(os.getpid(), signal.SIGKILL)


def leave_early(guard: Sandbox) -> object:
    """End without a word to the guard."""
    os._exit(3)


def hang(guard: Sandbox) -> object:
    """Say that it runs, and never end."""
    os.write(guard.pipes["up"], b"running")
    while True:
        time.sleep(1)


def main() -> None:
    guard = enter()
    said = globals()[guard.arguments](guard)
    os.write(guard.pipes["up"], json.dumps(said).encode())
    guard.leave()


if __name__ == "__main__":
    if pretended := os.environ.get("PRETEND"):
        platform.machine = lambda: pretended
    main()
