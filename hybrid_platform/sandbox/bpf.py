"""From rules to the program that the kernel runs before every system call, as bytes with a digest.

in: the deny-list · out: classic BPF. Linear and short: calls that match no rule are remembered by
the kernel (5.11 on) as always allowed, so their cost is nil.
"""

from __future__ import annotations

import errno
import hashlib
import struct
from collections.abc import Sequence

from hybrid_platform.sandbox.syscalls import ARCHITECTURE, AUDIT_ARCH, RULES, UNREVIEWED, X32, Rule

LD, ALU_AND, JEQ, JGE, RET = 0x20, 0x54, 0x15, 0x35, 0x06
RET_ALLOW, RET_ERRNO, RET_USER_NOTIF = 0x7FFF_0000, 0x0005_0000, 0x7FC0_0000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_INSTRUCTION = struct.Struct("<HBBI")

Instruction = tuple[int, int, int, int]
"""Operation, jump if true, jump if false (both in instructions to skip), constant."""


class Filter:
    """A deny-list for one instruction set. Equal rules give equal bytes, and so an equal digest."""

    def __init__(self, machine: str, rules: tuple[Rule, ...] = RULES, *, notify: bool = False) -> None:
        """Assemble the program; raise ValueError for a machine whose numbers are not in the table."""
        if machine not in AUDIT_ARCH:
            raise ValueError(f"machine: expected one of {', '.join(AUDIT_ARCH)}, got {machine}")
        self.machine, self.rules = machine, rules
        self.notify = notify
        """Denied calls wait for a word of the watcher outside, whose only word is EPERM, and are counted by it."""
        self.instructions = self._assembled()
        self.program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in self.instructions)
        """The instructions as the kernel takes them: 8 bytes each, little-endian."""
        self.sha256 = hashlib.sha256(self.program).hexdigest()
        """Digest of the program's bytes: the filter's name in evidence."""

    def without(self, name: str) -> Filter:
        """Return the filter with one rule removed: what a mutation test loads. Raises KeyError."""
        kept = tuple(rule for rule in self.rules if rule.name != name)
        if len(kept) == len(self.rules):
            raise KeyError(name)
        return Filter(self.machine, kept, notify=self.notify)

    def find_rule(self, arch: int, number: int, arguments: Sequence[int]) -> Rule | None:
        """Return the rule that denies this call, None where it is allowed; ``arch`` is an AUDIT_ARCH."""
        for rule in self.rules:
            if rule.name == ARCHITECTURE.name:
                hit = arch != AUDIT_ARCH[self.machine]
            elif rule.name in {X32.name, UNREVIEWED.name}:
                first = rule.number(self.machine)
                hit = first is not None and number >= first
            else:
                hit = number == rule.number(self.machine) and (rule.when is None or rule.when.holds(arguments))
            if hit:
                return rule
        return None

    def _assembled(self) -> tuple[Instruction, ...]:
        code: list[Instruction] = [(LD, 0, 0, _NUMBER)]
        for rule in self.rules:
            code += self._check(rule)
        return (*code, (RET, 0, 0, RET_ALLOW))

    def _deny(self, rule: Rule) -> Instruction:
        # What a library probes for in innocence (ENOSYS) is answered at once and not counted as an attempt.
        if self.notify and rule.errno == errno.EPERM:
            return RET, 0, 0, RET_USER_NOTIF
        return RET, 0, 0, RET_ERRNO | rule.errno

    def _check(self, rule: Rule) -> list[Instruction]:
        """Return what denies this rule's call; the call's number is loaded before and after."""
        deny = self._deny(rule)
        number = rule.number(self.machine)
        if rule.name == ARCHITECTURE.name:
            return [(LD, 0, 0, _ARCH), (JEQ, 1, 0, AUDIT_ARCH[self.machine]), deny, (LD, 0, 0, _NUMBER)]
        if number is None:
            return []
        if rule.name in {X32.name, UNREVIEWED.name}:  # from this number on
            return [(JGE, 0, 1, number), deny]
        if rule.when is None:
            return [(JEQ, 0, 1, number), deny]
        when = rule.when
        return [
            (JEQ, 0, 5, number),
            (LD, 0, 0, _ARGUMENTS + 8 * when.argument),  # the low word: both machines are little-endian
            (ALU_AND, 0, 0, when.mask),
            (JEQ, *((0, 1) if when.equal else (1, 0)), when.value),
            deny,
            (LD, 0, 0, _NUMBER),
        ]
