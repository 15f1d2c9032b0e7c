"""Attacks through an open socket: the host process has one, a sandboxed child must not."""

from __future__ import annotations

import fcntl
import os

from hybrid_platform_tests.sandbox.attacks.target import Surroundings


def write_inherited(around: Surroundings) -> None:
    os.write(around.target.descriptor, around.target.message)


def pwritev2_inherited(around: Surroundings) -> None:
    # Offset -1 means the current position, the only one that a socket accepts.
    os.pwritev(around.target.descriptor, [around.target.message], -1, 0)


def sendfile_inherited(around: Surroundings) -> None:
    source = os.memfd_create("source")
    os.write(source, around.target.message)
    os.sendfile(around.target.descriptor, source, 0, len(around.target.message))


def splice_inherited(around: Surroundings) -> None:
    read, write = os.pipe()
    os.write(write, around.target.message)
    os.splice(read, around.target.descriptor, len(around.target.message))


def dup_onto_allowed(around: Surroundings) -> None:
    os.dup2(around.target.descriptor, around.target.allowed)
    os.write(around.target.allowed, around.target.message)


def fcntl_dup(around: Surroundings) -> None:
    number = fcntl.fcntl(around.target.descriptor, fcntl.F_DUPFD_CLOEXEC, 100)
    os.write(number, around.target.message)
