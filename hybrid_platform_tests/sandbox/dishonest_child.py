"""Main module of a child that applies no sandbox and sends all the right messages; a reading from outside shows it."""

from __future__ import annotations

import socket
import sys

from hybrid_platform.domain.isolation import Attempt, Kind, LandlockStatus, PositiveControl
from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.protocol import Leaving, MessagePipe, Plan, Proceed, Sealed, Tested

if __name__ == "__main__":
    messages = MessagePipe(int(sys.argv[1]), int(sys.argv[2]))
    plan = messages.receive(Plan, 30)
    kept = socket.socket()
    digest = Filter(_linux.machine() or "", notify=plan.notify).sha256
    all_held = Tested((Attempt("connect", Kind.SOCKET, "EPERM", "EPERM"),), hook_alive=True)
    landlock = LandlockStatus(abi=7, handled_fs=0xFFFF, all_threads=True)
    sealed = Sealed(PositiveControl(network=True, file=True), landlock, digest, None, ())
    for message in (sealed, all_held, Leaving(()), all_held):
        messages.send(message)
        messages.receive(Proceed, 30)
