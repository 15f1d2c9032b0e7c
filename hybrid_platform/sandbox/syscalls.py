"""The deny-list as data: the system calls that a sandboxed thread cannot make, with one reason each (I1).

A strategy computes; it needs memory, its threads, its pipes and its code. Every call here is a way to the network, out
of the process, or around the sandbox. ``docs/isolation.md`` explains which calls are *not* here. Numbers are those of
the kernel's tables for x86-64 and aarch64 (None: no such call). The order matters only for the first three rules, which
check whose numbers a call uses.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from hybrid_platform.domain.isolation import Kind

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x4000_0000
LAST_REVIEWED = 469
"""``file_setattr``, Linux 6.17; later calls were unknown when this list was reviewed."""

_F_DUPFD, _F_DUPFD_CLOEXEC = 0, 1030
_CLONE_SIGHAND, _CLONE_THREAD, _CLONE_NEWUSER, _CLONE_NAMESPACES = 0x800, 0x10000, 0x1000_0000, 0x7E02_0000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_ALL = 0xFFFF_FFFF


class When(NamedTuple):
    """A condition on the low 32 bits of one argument; the kernel ignores the others in these calls."""

    argument: int
    mask: int
    value: int
    equal: bool = True

    def holds(self, arguments: Sequence[int]) -> bool:
        """Return whether ``arguments[argument] & mask`` is (or, unless ``equal``, is not) ``value``."""
        return ((arguments[self.argument] & self.mask) == self.value) is self.equal


class Rule(NamedTuple):
    """One denied call."""

    name: str
    """Unique name: the call, with the condition in brackets if there are several."""
    kind: Kind
    x86_64: int | None
    aarch64: int | None
    why: str
    when: When | None = None
    errno: int = errno.EPERM
    probe: tuple[int, ...] | None = (-1,) * 6
    """Arguments that match the rule and have no effect without it; None if there are none."""

    def number(self, machine: str) -> int | None:
        """Return the call's number on ``machine``, or None if it has no such call."""
        return self.x86_64 if machine == "x86_64" else self.aarch64


# Foreign numbers are denied like the rest, not killed: the call is as impossible, and the process lives to be counted.
# With threads, a kill would end the host process together with its evidence.
ARCHITECTURE = Rule("architecture", Kind.FOREIGN, None, None, "int 0x80 and AArch32 use other numbers")
X32 = Rule("x32", Kind.FOREIGN, X32_BIT, None, "the x32 numbers reach the same calls past every number below")
UNREVIEWED = Rule(
    "unreviewed", Kind.FOREIGN, LAST_REVIEWED + 1, LAST_REVIEWED + 1,
    "a call newer than this list does not exist here, which libraries handle as on an old kernel", errno=errno.ENOSYS,
)  # fmt: skip

_S, _A, _T, _D, _P, _M = Kind.SOCKET, Kind.ASYNC_IO, Kind.TRANSFER, Kind.DESCRIPTOR, Kind.PROCESS, Kind.MEMORY
_N, _F, _K, _I, _X, _G = Kind.NAMESPACE, Kind.MOUNT, Kind.KERNEL, Kind.IPC, Kind.METADATA, Kind.SANDBOX

RULES: tuple[Rule, ...] = (
    ARCHITECTURE,
    X32,
    UNREVIEWED,
    Rule("socket", _S, 41, 198, "creates an endpoint of any family: inet, unix, netlink, packet, vsock, alg"),
    Rule("socketpair", _S, 53, 199, "creates two endpoints; the process must hold none"),
    Rule("connect", _S, 42, 203, "reaches a peer"),
    Rule("bind", _S, 49, 200, "accepts messages from outside"),
    Rule("listen", _S, 50, 201, "accepts connections from outside"),
    Rule("accept", _S, 43, 202, "takes a peer's connection"),
    Rule("accept4", _S, 288, 242, "the same with flags"),
    Rule("sendto", _S, 44, 206, "sends, and with MSG_FASTOPEN connects as well"),
    Rule("sendmsg", _S, 46, 211, "sends, and passes descriptors"),
    Rule("sendmmsg", _S, 307, 269, "sends many messages"),
    Rule("recvfrom", _S, 45, 207, "receives from a peer"),
    Rule("recvmsg", _S, 47, 212, "receives from a peer, descriptors included"),
    Rule("recvmmsg", _S, 299, 243, "receives many messages"),
    Rule("getsockopt", _S, 55, 209, "reveals peers and, with TCP_REPAIR, their state"),
    Rule("setsockopt", _S, 54, 208, "attaches filters and upper-layer protocols to a socket"),
    Rule("getsockname", _S, 51, 204, "reveals the address of an inherited descriptor"),
    Rule("getpeername", _S, 52, 205, "reveals the peer of an inherited descriptor"),
    Rule("shutdown", _S, 48, 210, "ends a connection that another process holds"),
    Rule("io_uring_setup", _A, 425, 425, "a ring does sockets, sends and opens without a system call to filter"),
    Rule("io_uring_enter", _A, 426, 426, "runs a ring that was passed in"),
    Rule("io_uring_register", _A, 427, 427, "registers descriptors with a ring"),
    Rule("io_setup", _A, 206, 0, "Linux AIO writes to sockets from the kernel's side"),
    Rule("io_submit", _A, 209, 2, "the same, by a context that was passed in"),
    Rule("sendfile", _T, 40, 71, "moves bytes into a descriptor without write"),
    Rule("splice", _T, 275, 76, "moves a pipe into a descriptor"),
    Rule("vmsplice", _T, 278, 75, "moves memory into a pipe, whose pages splice then sends"),
    Rule("tee", _T, 276, 77, "copies a pipe that splice then sends"),
    Rule("pwritev2", _T, 328, 287, "a write with flags that tools for watching writes forget"),
    Rule("dup", _D, 32, 23, "gives a descriptor a second number"),
    Rule("dup2", _D, 33, None, "puts a descriptor over one that is allowed"),
    Rule("dup3", _D, 292, 24, "the same with flags"),
    Rule("fcntl(F_DUPFD)", _D, 72, 25, "dup by another name",
         When(1, _ALL, _F_DUPFD), probe=(-1, _F_DUPFD, 0)),
    Rule("fcntl(F_DUPFD_CLOEXEC)", _D, 72, 25, "dup by another name",
         When(1, _ALL, _F_DUPFD_CLOEXEC), probe=(-1, _F_DUPFD_CLOEXEC, 0)),
    Rule("execve", _P, 59, 221, "another program: curl, bash and its /dev/tcp"),
    Rule("execveat", _P, 322, 281, "the same from a descriptor, of a file or of memory"),
    Rule("fork", _P, 57, None, "a process that outlives the reading at the end", probe=None),
    Rule("vfork", _P, 58, None, "the same", probe=None),
    Rule("clone(process)", _P, 56, 220, "the same: only threads may be made, for they are read back",
         When(0, _CLONE_THREAD, _CLONE_THREAD, equal=False), probe=(_CLONE_SIGHAND, 0, 0, 0, 0)),
    Rule("clone(namespace)", _N, 56, 220, "a namespace gives back the capabilities that were dropped",
         When(0, _CLONE_NAMESPACES, 0, equal=False), probe=(_CLONE_THREAD | _CLONE_NEWUSER, 0, 0, 0, 0)),
    Rule("clone3", _P, 435, 435, "its flags lie in memory where a filter cannot look; libc falls back to clone",
         errno=errno.ENOSYS),
    Rule("prlimit64(other)", _P, 302, 261, "chokes the parent by its own limits",
         When(0, _ALL, 0, equal=False), probe=(-1, -1, 0, 0)),
    Rule("setpriority", _P, 141, 140, "starves the parent, or all processes of its user"),
    Rule("ioprio_set", _P, 251, 30, "starves the parent's disk"),
    Rule("sched_setaffinity(other)", _P, 203, 122, "pins the parent to one core",
         When(0, _ALL, 0, equal=False)),
    Rule("sched_setscheduler(other)", _P, 144, 119, "makes the parent run last",
         When(0, _ALL, 0, equal=False)),
    Rule("sched_setparam(other)", _P, 142, 118, "makes the parent run last",
         When(0, _ALL, 0, equal=False)),
    Rule("sched_setattr(other)", _P, 314, 274, "makes the parent run last",
         When(0, _ALL, 0, equal=False)),
    Rule("ptrace", _M, 101, 117, "makes another process do the call", probe=(-1, -1, 0, 0)),
    Rule("process_vm_readv", _M, 310, 270, "reads keys out of the parent's memory"),
    Rule("process_vm_writev", _M, 311, 271, "writes into the parent's memory"),
    Rule("process_madvise", _M, 440, 440, "changes another process's memory"),
    Rule("process_mrelease", _M, 448, 448, "frees another process's memory"),
    Rule("kcmp", _M, 312, 272, "reveals the kinds of the parent's descriptors"),
    Rule("pidfd_open", _M, 434, 434, "a handle on the parent"),
    Rule("pidfd_getfd", _M, 438, 438, "takes a socket out of the parent's hands"),
    Rule("pidfd_send_signal", _M, 424, 424, "signals by that handle"),
    Rule("setns", _N, 308, 268, "enters a namespace that has a network"),
    Rule("unshare", _N, 272, 97, "a namespace gives back the capabilities that were dropped"),
    Rule("mount", _F, 165, 40, "a network file system, or a path under another name"),
    Rule("umount2", _F, 166, 39, "uncovers what a mount hides"),
    Rule("pivot_root", _F, 155, 41, "changes what every path means"),
    Rule("chroot", _F, 161, 51, "changes what every path means"),
    Rule("fsopen", _F, 430, 430, "mount by the newer interface"),
    Rule("fsconfig", _F, 431, 431, "mount by the newer interface"),
    Rule("fsmount", _F, 432, 432, "mount by the newer interface"),
    Rule("fspick", _F, 433, 433, "mount by the newer interface"),
    Rule("move_mount", _F, 429, 429, "mount by the newer interface"),
    Rule("open_tree", _F, 428, 428, "clones a mount"),
    Rule("open_tree_attr", _F, 467, 467, "clones a mount"),
    Rule("mount_setattr", _F, 442, 442, "makes a read-only mount writable"),
    Rule("open_by_handle_at", _F, 304, 265, "opens a file by number, past every directory on the way"),
    Rule("bpf", _K, 321, 280, "programs in the kernel, packets included"),
    Rule("perf_event_open", _K, 298, 241, "samples other processes"),
    Rule("userfaultfd", _K, 323, 282, "stops the kernel in the middle of a copy: a tool of exploits"),
    Rule("kexec_load", _K, 246, 104, "another kernel"),
    Rule("kexec_file_load", _K, 320, 294, "another kernel"),
    Rule("init_module", _K, 175, 105, "code in the kernel"),
    Rule("finit_module", _K, 313, 273, "code in the kernel"),
    Rule("delete_module", _K, 176, 106, "takes a protection out of the kernel"),
    Rule("reboot", _K, 169, 142, "ends the host"),
    Rule("swapon", _K, 167, 224, "gives the parent's memory a file to be read in"),
    Rule("swapoff", _K, 168, 225, "starves the host of memory"),
    Rule("acct", _K, 163, 89, "makes the kernel write a file"),
    Rule("iopl", _K, 172, None, "the machine's ports, the network card's among them"),
    Rule("ioperm", _K, 173, None, "the machine's ports"),
    Rule("add_key", _K, 248, 217, "a keyring shared with the parent's session"),
    Rule("request_key", _K, 249, 218, "makes the kernel run a program outside, which may resolve names"),
    Rule("keyctl", _K, 250, 219, "reads keys of the session"),
    Rule("personality", _K, 135, 92, "switches off address randomisation and changes what calls mean"),
    Rule("ioctl(TIOCSTI)", _K, 16, 29, "types into the operator's terminal",
         When(1, _ALL, _TIOCSTI), probe=(-1, _TIOCSTI, 0)),
    Rule("ioctl(TIOCLINUX)", _K, 16, 29, "pastes into the operator's console",
         When(1, _ALL, _TIOCLINUX), probe=(-1, _TIOCLINUX, 0)),
    Rule("mq_open", _I, 240, 180, "a mailbox for a confederate outside, where Landlock does not look"),
    Rule("msgget", _I, 68, 186, "a mailbox for a confederate outside", probe=(-1, 0)),
    Rule("shmget", _I, 29, 194, "memory shared with a confederate outside"),
    Rule("shmat", _I, 30, 196, "attaches such memory by its number"),
    Rule("semget", _I, 64, 190, "signals to a confederate outside"),
    # Landlock does not cover a file's attributes, and as its owner one may change them without opening it.
    Rule("chmod", _X, 90, None, "opens the keys to others, or locks the database away"),
    Rule("fchmod", _X, 91, 52, "the same by descriptor"),
    Rule("fchmodat", _X, 268, 53, "the same by directory"),
    Rule("fchmodat2", _X, 452, 452, "the same with flags"),
    Rule("chown", _X, 92, None, "gives files away"),
    Rule("fchown", _X, 93, 55, "gives files away"),
    Rule("lchown", _X, 94, None, "gives files away"),
    Rule("fchownat", _X, 260, 54, "gives files away"),
    Rule("setxattr", _X, 188, 5, "labels and access lists of files it cannot open"),
    Rule("lsetxattr", _X, 189, 6, "labels and access lists"),
    Rule("fsetxattr", _X, 190, 7, "labels and access lists"),
    Rule("setxattrat", _X, 463, 463, "labels and access lists"),
    Rule("removexattr", _X, 197, 14, "labels and access lists"),
    Rule("lremovexattr", _X, 198, 15, "labels and access lists"),
    Rule("fremovexattr", _X, 199, 16, "labels and access lists"),
    Rule("removexattrat", _X, 466, 466, "labels and access lists"),
    Rule("file_setattr", _X, 469, 469, "makes files immutable, or not"),
    Rule("utime", _X, 132, None, "forges the times of evidence"),
    Rule("utimes", _X, 235, None, "forges the times of evidence"),
    Rule("futimesat", _X, 261, None, "forges the times of evidence"),
    Rule("utimensat", _X, 280, 88, "forges the times of evidence"),
    Rule("truncate", _X, 76, 45, "empties a file without opening it; Landlock sees it only from ABI 3 on"),
    Rule("seccomp", _G, 317, 277, "a filter above ours could feign answers in the closing self-test"),
    Rule("prctl(PR_SET_SECCOMP)", _G, 157, 167, "the same by its older name",
         When(0, _ALL, _PR_SET_SECCOMP), probe=(_PR_SET_SECCOMP, -1)),
    Rule("prctl(PR_SET_DUMPABLE)", _G, 157, 167, "hides the process from the reading at the end",
         When(0, _ALL, _PR_SET_DUMPABLE), probe=(_PR_SET_DUMPABLE, -1)),
    Rule("prctl(PR_SET_PDEATHSIG)", _G, 157, 167, "outlives its parent",
         When(0, _ALL, _PR_SET_PDEATHSIG), probe=(_PR_SET_PDEATHSIG, -1)),
)  # fmt: skip
