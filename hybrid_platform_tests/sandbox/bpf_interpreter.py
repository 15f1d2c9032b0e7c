"""Interpreter of classic BPF after the kernel's documentation: a second implementation to check the program against."""

from __future__ import annotations

import struct
from collections.abc import Sequence

ALLOW = 0x7FFF_0000


def run(program: bytes, arch: int, number: int, arguments: Sequence[int]) -> int:
    """Return the program's answer to one system call; raise if it would leave its bounds."""
    data = struct.pack("<II7Q", number, arch, 0, *(value & (2**64 - 1) for value in (*arguments, *[0] * 6)[:6]))
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x35:
                at += if_true if accumulator >= constant else if_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")
