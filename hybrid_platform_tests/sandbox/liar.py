"""Main module of a child that puts no guard on and says all the right things: only a reading from outside tells."""

from __future__ import annotations

import socket
import sys

from hybrid_platform.domain.isolation import Attempt, Control, Kind, LandlockStatus
from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.protocol import Leaving, Line, Plan, Proceed, Sealed, Tested

if __name__ == "__main__":
    line = Line(int(sys.argv[1]), int(sys.argv[2]))
    plan = line.receive(Plan, 30)
    kept = socket.socket()
    digest = Filter(_linux.machine() or "", notify=plan.notify).sha256
    all_held = Tested((Attempt("connect", Kind.SOCKET, "EPERM", "EPERM"),), hook_alive=True)
    landlock = LandlockStatus(abi=7, handled_fs=0xFFFF, all_threads=True)
    for word in (Sealed(Control(network=True, file=True), landlock, digest, None, ()), all_held, Leaving(()), all_held):
        line.send(word)
        line.receive(Proceed, 30)
