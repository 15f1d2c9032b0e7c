"""Assembler of the filter: the program that the kernel runs before every system call, with its digest.

In: the deny-list. Out: classic BPF. The program is linear. From Linux 5.11 on the kernel remembers the calls that
match no rule as always allowed, so they cost nothing.
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
"""Operation, jump if true, jump if false (both as numbers of instructions to skip), and a constant."""


class Filter:
    """A deny-list for one instruction set. Equal rules give equal bytes and an equal digest."""

    def __init__(self, machine: str, rules: tuple[Rule, ...] = RULES, *, notify: bool = False) -> None:
        """Assemble the program; raise ValueError for a machine that has no numbers in the table."""
        if machine not in AUDIT_ARCH:
            raise ValueError(f"machine: expected one of {', '.join(AUDIT_ARCH)}, got {machine}")
        self.machine, self.rules = machine, rules
        self.notify = notify
        """Whether denied calls are sent to the watcher outside, which counts them and answers EPERM."""
        self.instructions = self._assemble()
        self.program = b"".join(_INSTRUCTION.pack(*instruction) for instruction in self.instructions)
        """The instructions in the kernel's format: 8 bytes each, little-endian."""
        self.sha256 = hashlib.sha256(self.program).hexdigest()
        """Digest of the program's bytes, which identifies the filter in evidence."""

    def without(self, name: str) -> Filter:
        """Return the filter with one rule removed, for mutation tests. Raises KeyError."""
        kept = tuple(rule for rule in self.rules if rule.name != name)
        if len(kept) == len(self.rules):
            raise KeyError(name)
        return Filter(self.machine, kept, notify=self.notify)

    def find_rule(self, arch: int, number: int, arguments: Sequence[int]) -> Rule | None:
        """Return the rule that denies this call, or None if it is allowed; ``arch`` is an AUDIT_ARCH."""
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

    def _assemble(self) -> tuple[Instruction, ...]:
        code: list[Instruction] = [(LD, 0, 0, _NUMBER)]
        for rule in self.rules:
            code += self._assemble_rule(rule)
        return (*code, (RET, 0, 0, RET_ALLOW))

    def _deny(self, rule: Rule) -> Instruction:
        # Libraries probe for newer calls innocently: answer ENOSYS at once and do not count an attempt.
        if self.notify and rule.errno == errno.EPERM:
            return RET, 0, 0, RET_USER_NOTIF
        return RET, 0, 0, RET_ERRNO | rule.errno

    def _assemble_rule(self, rule: Rule) -> list[Instruction]:
        """Return the instructions that deny this rule's call; the call's number is loaded before and after them."""
        deny = self._deny(rule)
        number = rule.number(self.machine)
        if rule.name == ARCHITECTURE.name:
            return [(LD, 0, 0, _ARCH), (JEQ, 1, 0, AUDIT_ARCH[self.machine]), deny, (LD, 0, 0, _NUMBER)]
        if number is None:
            return []
        if rule.name in {X32.name, UNREVIEWED.name}:  # all calls from this number on
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
