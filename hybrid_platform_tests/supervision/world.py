"""Simulated runs and time for the tests of `reconcile`: `World` carries out every action at once.

``evaluate`` lets time pass and evaluates once; ``evaluate_until_launched`` repeats that; ``end`` and ``set_liveness``
change the current run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import Observation, ObservedPreflight, ObservedRun, RunLiveness
from hybrid_platform.supervision.reconcile import Action, Check, Launch, Reap, reconcile
from hybrid_platform.supervision.state import SupervisorState, read_cursor, to_cursor

START_NS = 1_700_000_000 * NS_PER_S


@dataclass
class World:
    """Time, runs, and the supervisor's state, which passes through the cursor."""

    settings: SupervisionSettings = field(default_factory=SupervisionSettings)
    rolls: bool = True
    now_s: float = 0.0
    desired: str = "one"
    switched_on: float = 1.0
    halted: str | None = None
    holder: str | None = None
    check_passes: bool = True
    run: ObservedRun | None = None
    check_run: ObservedRun | None = None
    check: ObservedPreflight | None = None
    cursor: str = ""
    launched_at: list[float] = field(default_factory=list)
    reaped: list[str] = field(default_factory=list)
    checks: int = 0

    @property
    def now_ns(self) -> int:
        return START_NS + int(self.now_s * NS_PER_S)

    @property
    def state(self) -> SupervisorState:
        return read_cursor(self.cursor)

    def evaluate(self, after_s: float = 15.0) -> Action:
        """Let time pass, reconcile once, and carry out the action."""
        self.now_s += after_s
        observed = Observation(
            self.now_ns, self.switched_on, self.desired, self.rolls,
            self.run, self.check_run, self.check, self.halted, self.holder,
        )  # fmt: skip
        action, state = reconcile(self.state, observed, self.settings)
        self.cursor = to_cursor(state)
        if isinstance(action, Launch):
            assert self.run is None or self.run.liveness is None, "never a second run during another"
            assert self.run is None or action.generation > self.run.generation, "a run key is never used twice"
            name = f"run-{action.generation}"
            self.run = ObservedRun(name, action.generation, self.now_ns, RunLiveness.ALIVE, "session s", self.now_ns)
            self.launched_at.append(self.now_s)
        elif isinstance(action, Check):
            self.checks += 1
            self.check = ObservedPreflight(self.now_ns, self.check_passes, "" if self.check_passes else "CPU pressure")
            name, code = f"check-{action.number}", 0 if self.check_passes else 13
            self.check_run = ObservedRun(
                name, action.number, self.now_ns, None, started_ns=self.now_ns, ended_ns=self.now_ns, exit_code=code
            )
        elif isinstance(action, Reap):
            assert self.run is not None and self.run.liveness is RunLiveness.GONE
            self.reaped.append(action.run_id)
            self.end(1, "REAPED")
        return action

    def evaluate_until_launched(self, most_s: float = 100_000.0) -> float:
        """Evaluate until the next launch, and return the time that took, in seconds."""
        before, began = len(self.launched_at), self.now_s
        while len(self.launched_at) == before:
            assert self.now_s - began <= most_s, f"nothing was launched: {self.state}"
            self.evaluate()
        return self.now_s - began

    def end(self, code: int, reason: str = "", *, by_operator: bool = False, error: str = "") -> None:
        """End the current run."""
        assert self.run is not None
        self.run = self.run._replace(
            liveness=None,
            ended_ns=self.now_ns,
            exit_code=code,
            exit_reason=reason,
            by_operator=by_operator,
            error=error,
        )

    def set_liveness(self, liveness: RunLiveness) -> None:
        """Change what is known of the current run."""
        assert self.run is not None
        self.run = self.run._replace(liveness=liveness, detail=liveness.value)
