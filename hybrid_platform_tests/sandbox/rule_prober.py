"""Program of the mutation test: loads filters into real forks and reports which of the self-test's probes pass.

The kernel itself may refuse a probe with EPERM (without a capability, for example), and another rule may catch it too.
Neither must hide a missing rule, so here every rule answers with its own errno, which no call returns.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable

import msgspec

from hybrid_platform.sandbox import _linux, seccomp
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.selftest import try_rules
from hybrid_platform.sandbox.syscalls import RULES

FIRST_MARK = 3900
WITHOUT_PROBE = ("architecture", "fork", "vfork")
"""Rules without a harmless probe."""


def build_marked_filter() -> Filter:
    """Return the shipped rules, each with a unique errno."""
    return Filter(_linux.machine() or "", tuple(rule._replace(errno=FIRST_MARK + at) for at, rule in enumerate(RULES)))


def find_leaks(removed: str | None) -> list[str]:
    """Load the filter, without rule ``removed``, for this process; return the probes that passed."""
    whole = build_marked_filter()
    seccomp.load(whole.without(removed) if removed else whole, all_threads=True)
    attempts = try_rules(whole)
    return [attempt.name for attempt in attempts if not attempt.held] + [
        name for name in WITHOUT_PROBE if removed in {None, name} and not _is_denied(name, whole)
    ]


def _is_denied(name: str, whole: Filter) -> bool:
    """Return whether a fork of this process is denied the call; a fork that dies of the call was not."""
    rule = next(rule for rule in whole.rules if rule.name == name)
    if name == "architecture":
        return whole.machine != "x86_64" or _int80(20) == -rule.errno
    number = rule.number(whole.machine)
    if number is None:
        return True
    try:
        if _linux.syscall(number) == 0:
            os._exit(0)
    except OSError as error:
        return error.errno == rule.errno
    return False


def _int80(number: int) -> int:
    """Make a call by its 32-bit number: mov eax, edi; push rbx; int 0x80; pop rbx; cdqe; ret."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("89f8 53 cd80 5b 4898 c3"))
    at = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return int(ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(at)(number))


def run_in_fork(action: Callable[[], object]) -> bytes:
    """Return the result of a fork as JSON, or how it died."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os.write(write, msgspec.json.encode(action()))
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        output = pipe.read()
    _, status = os.waitpid(child, 0)
    return output or msgspec.json.encode([f"died with {status}"])


def main() -> None:
    """Print a JSON object: removed rule (or an empty name) → probes that passed."""
    found = {}
    for removed in (None, *(rule.name for rule in RULES)):
        found[removed or ""] = msgspec.json.decode(run_in_fork(lambda removed=removed: find_leaks(removed)))
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
