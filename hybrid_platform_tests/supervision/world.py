"""A small world in which runs live and end, so that the policy can be asked again and again."""

from __future__ import annotations

from dataclasses import dataclass, field

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import CheckSeen, Life, RunSeen, Seen
from hybrid_platform.supervision.reconcile import Action, Check, Launch, Reap, decide
from hybrid_platform.supervision.state import Memory, cursor_of, read_memory

START_NS = 1_700_000_000 * NS_PER_S


@dataclass
class World:
    """Time, runs, and the memory as it goes through the cursor; every action is carried out at once."""

    settings: SupervisionSettings = field(default_factory=SupervisionSettings)
    rolls: bool = True
    now_s: float = 0.0
    wanted: str = "one"
    switched_on: float = 1.0
    halted: str | None = None
    holder: str | None = None
    check_passes: bool = True
    run: RunSeen | None = None
    check_run: RunSeen | None = None
    check: CheckSeen | None = None
    cursor: str = ""
    launched_at: list[float] = field(default_factory=list)
    reaped: list[str] = field(default_factory=list)
    checks: int = 0

    @property
    def now_ns(self) -> int:
        return START_NS + int(self.now_s * NS_PER_S)

    @property
    def memory(self) -> Memory:
        return read_memory(self.cursor)

    def look(self, after_s: float = 15.0) -> Action:
        """Let time pass, ask, and do what was decided."""
        self.now_s += after_s
        seen = Seen(
            self.now_ns, self.switched_on, self.wanted, self.rolls,
            self.run, self.check_run, self.check, self.halted, self.holder,
        )  # fmt: skip
        action, memory = decide(self.memory, seen, self.settings)
        self.cursor = cursor_of(memory)
        if isinstance(action, Launch):
            assert self.run is None or self.run.life is None, "never a second run beside one that goes on"
            assert self.run is None or action.generation > self.run.generation, "a run key is never used twice"
            self.run = RunSeen(f"run-{action.generation}", action.generation, self.now_ns, Life.ALIVE, "session s",
                               self.now_ns)  # fmt: skip
            self.launched_at.append(self.now_s)
        elif isinstance(action, Check):
            self.checks += 1
            self.check = CheckSeen(self.now_ns, self.check_passes, "" if self.check_passes else "CPU pressure")
            self.check_run = RunSeen(f"check-{action.number}", action.number, self.now_ns, None, started_ns=self.now_ns,
                                     ended_ns=self.now_ns, exit_code=0 if self.check_passes else 13)  # fmt: skip
        elif isinstance(action, Reap):
            assert self.run is not None and self.run.life is Life.GONE
            self.reaped.append(action.run_id)
            self.end(1, "REAPED")
        return action

    def look_until_launched(self, most_s: float = 100_000.0) -> float:
        """Look until the next launch, and return how long that took, in seconds."""
        before, began = len(self.launched_at), self.now_s
        while len(self.launched_at) == before:
            assert self.now_s - began <= most_s, f"nothing was launched: {self.memory}"
            self.look()
        return self.now_s - began

    def end(self, code: int, reason: str = "", *, by_person: bool = False, error: str = "") -> None:
        """The running run ends."""
        assert self.run is not None
        self.run = self.run._replace(
            life=None, ended_ns=self.now_ns, exit_code=code, exit_reason=reason, by_person=by_person, error=error
        )

    def life(self, life: Life) -> None:
        assert self.run is not None
        self.run = self.run._replace(life=life, detail=life.value)
