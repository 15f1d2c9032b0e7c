"""Every attack, its effect, and whether it is known to leak from threads of the host process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from hybrid_platform_tests.sandbox.attacks import descriptors, kernel, network, outside
from hybrid_platform_tests.sandbox.attacks.target import Surroundings

Effect = Literal["heard", "stolen", "pth", "code", "row", "emptied", "evidence", "gone", "mode", "killed"]


class Attack(NamedTuple):
    run: Callable[[Surroundings], str | None]
    effect: Effect
    """The effect that shows from outside that it worked."""
    leaks_under_thread: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__


ATTACKS = (
    Attack(network.urllib_request, "heard"),
    Attack(network.http_client, "heard"),
    Attack(network.requests_get, "heard"),
    Attack(network.asyncio_stream, "heard"),
    Attack(network.ctypes_connect, "heard"),
    Attack(network.raw_syscall, "heard"),
    Attack(network.tcp_fast_open, "heard"),
    Attack(network.udp, "heard"),
    Attack(network.unix_socket, "heard"),
    Attack(network.dns, "heard"),
    Attack(network.curl_child, "heard"),
    Attack(network.bash_dev_tcp, "heard"),
    Attack(network.child_thread, "heard"),
    Attack(network.fork, "heard"),
    Attack(network.executor_hand_off, "heard", leaks_under_thread=True),
    Attack(network.pending_call, "heard", leaks_under_thread=True),
    Attack(descriptors.write_inherited, "heard", leaks_under_thread=True),
    Attack(descriptors.pwritev2_inherited, "heard"),
    Attack(descriptors.sendfile_inherited, "heard"),
    Attack(descriptors.splice_inherited, "heard"),
    Attack(descriptors.dup_onto_allowed, "heard"),
    Attack(descriptors.fcntl_dup, "heard"),
    Attack(kernel.io_uring, "heard"),
    Attack(kernel.linux_aio, "heard"),
    Attack(kernel.i386_numbers, "heard"),
    Attack(outside.parent_memory, "stolen", leaks_under_thread=True),
    Attack(outside.parent_process_vm, "stolen"),
    Attack(outside.parent_socket, "heard"),
    Attack(outside.read_key, "stolen", leaks_under_thread=True),
    Attack(outside.link_key, "stolen", leaks_under_thread=True),
    Attack(outside.leave_pth, "pth", leaks_under_thread=True),
    Attack(outside.change_code, "code", leaks_under_thread=True),
    Attack(outside.write_database, "row", leaks_under_thread=True),
    Attack(outside.empty_database, "emptied"),
    Attack(outside.change_evidence, "evidence", leaks_under_thread=True),
    Attack(outside.remove_evidence, "gone", leaks_under_thread=True),
    Attack(outside.open_key_to_all, "mode"),
    Attack(outside.kill_neighbour, "killed", leaks_under_thread=True),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}
