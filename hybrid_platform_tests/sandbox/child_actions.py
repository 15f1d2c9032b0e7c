"""Main module of the sandboxed children in these tests: runs the function that its arguments name, like a strategy."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import threading
import time

from hybrid_platform.sandbox.child import Sandbox, enter


def honest(sandbox: Sandbox) -> object:
    """Compute with the libraries that strategies use."""
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


def rogue(sandbox: Sandbox) -> object:
    """Try the network once, from a named stage."""
    import socket

    answer = []

    def strategy() -> None:
        sandbox.stage("strategy")
        try:
            socket.socket()
        except OSError as error:
            answer.append(error.errno)

    thread = threading.Thread(target=strategy)
    thread.start()
    thread.join()
    return answer


def careless(sandbox: Sandbox) -> object:
    """Raise an uncaught error in a thread, which is not an attempt."""
    thread = threading.Thread(target=lambda: 1 // 0)
    thread.start()
    thread.join()
    return "continued"


def look_around(sandbox: Sandbox) -> object:
    """Return what a fresh process sees of its parent."""
    return {
        "environment": dict(os.environ),
        "hash": hash("tick"),
        "path": sys.path,
        "leader": os.getsid(0) == os.getpid(),
        "dumps": not sys.dont_write_bytecode,
    }


def echo(sandbox: Sandbox) -> object:
    """Return all bytes that arrived before the pipe was closed."""
    answer = b""
    while chunk := os.read(sandbox.pipes["ticks"], 4096):
        answer += chunk
    return answer.decode()


def forge(sandbox: Sandbox) -> object:
    """Forge the closing messages."""
    from hybrid_platform.domain.isolation import Attempt, Denied, Kind
    from hybrid_platform.sandbox.protocol import Tested

    sandbox._hook.counts = lambda: (
        Denied("kernel", Kind.SOCKET, "connect", "x", 1),
        Denied("audit-hook", Kind.SOCKET, "socket.connect", "<b>\x1b[31m" * 20, 1),
        Denied("audit-hook", Kind.SOCKET, "socket.connect", "y", -5),
    )
    sandbox._test = lambda: Tested((Attempt("connect", Kind.SOCKET, "EPERM", "EPERM"),), hook_alive=True)
    return "forged"


def kill_itself(sandbox: Sandbox) -> object:
    """Die as if killed for lack of memory."""
    return os.kill(os.getpid(), signal.SIGKILL)


def leave_early(sandbox: Sandbox) -> object:
    """End without leaving the sandbox."""
    os._exit(3)


def hang(sandbox: Sandbox) -> object:
    """Report that it runs, and never end."""
    os.write(sandbox.pipes["up"], b"running")
    while True:
        time.sleep(1)


def main() -> None:
    sandbox = enter()
    answer = globals()[sandbox.arguments](sandbox)
    os.write(sandbox.pipes["up"], json.dumps(answer).encode())
    sandbox.leave()


if __name__ == "__main__":
    if pretended := os.environ.get("PRETEND"):
        platform.machine = lambda: pretended
    main()
