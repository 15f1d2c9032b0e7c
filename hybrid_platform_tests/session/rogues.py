"""Strategies that attempt what they must not, each a module that a user would install.

`ACTS` reach for the network, `FORGER` writes to the pipe, `FILES` reads and writes files, `SILENT` is honest or stuck.
"""

from __future__ import annotations

HEAD = """
from hybrid_platform.strategies import Params, Strategy, buy


class Rogue(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 10:
            return self.act(tick)
"""

ACTS = {
    "urllib": """
    def act(self, tick):
        import urllib.request
        try:
            urllib.request.urlopen("http://127.0.0.1:%(port)d/", timeout=2)
        except OSError:
            pass
        return buy(tick, 1, "TRIED")
""",
    "ctypes connect": """
    def act(self, tick):
        import ctypes
        libc = ctypes.CDLL(None)
        libc.socket(2, 1, 0)
        return buy(tick, 1, "TRIED")
""",
    "a monkeypatched stage": """
    def act(self, tick):
        import socket
        from hybrid_platform.session.stages.execution import ExecutionStage
        original = ExecutionStage._decide

        def decide(stage, message):
            try:
                socket.create_connection(("127.0.0.1", %(port)d), 2)
            except OSError:
                pass
            return original(stage, message)

        ExecutionStage._decide = decide
        return buy(tick, 1, "TRIED")
""",
    "a child thread": """
    def act(self, tick):
        import socket, threading

        def reach():
            try:
                socket.create_connection(("127.0.0.1", %(port)d), 2)
            except OSError:
                pass

        thread = threading.Thread(target=reach)
        thread.start()
        thread.join()
        return buy(tick, 1, "TRIED")
""",
}

FORGER = """
import os, struct
from hybrid_platform.strategies import Params, Strategy


class Rogue(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 10:
            for descriptor in range(3, 64):
                try:
                    if os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:"):
                        os.write(descriptor, %(frame)s)
                except OSError:
                    pass
"""

FILES = """
import os
from pathlib import Path
from hybrid_platform.strategies import Params, Strategy


class Rogue(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq != 10:
            return
        got = []
        for name in %(names)r:
            try:
                Path(name).read_bytes()
                got.append("read " + name)
            except OSError:
                pass
            try:
                with open(name, "ab") as file:
                    file.write(b"x")
                got.append("wrote " + name)
            except OSError:
                pass
        print("got:", got)
"""

SILENT = """
import time
from hybrid_platform.strategies import Params, Strategy, buy


class Honest(Strategy[Params]):
    def on_tick(self, tick):
        if tick.seq == 1:
            print("hello from the strategy")
        if tick.seq % 7 == 0:
            return buy(tick, 1, "SEVENTH")


class Stuck(Strategy[Params]):
    def on_tick(self, tick):
        while tick.seq > 5:
            time.sleep(0.1)
"""
