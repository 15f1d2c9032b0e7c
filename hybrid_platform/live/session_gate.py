"""The LIVE gate as a session sees it: it opens once, at the start, and builds the live execution stage (S14, L1).

in: a run's context and the CPU pressure that preflight read · out: the stage, made for the released adapter.
"""

from __future__ import annotations

from typing import NamedTuple

from hybrid_platform.domain.records import PressureGate
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.live.gate import Release, release
from hybrid_platform.live.inputs import build_live_request
from hybrid_platform.session.live_stage import LiveStage, LiveWiring


class InstalledLiveGate:
    """The LIVE gate with the adapters that are installed; implements `session.live_stage.LiveGate`."""

    def open(self, context: RunContext, pressure: PressureGate) -> OpenedLiveGate:
        """Judge every condition again and consume the arming token; raise GateRefused if one is not met."""
        return OpenedLiveGate(release(build_live_request(context, pressure)))


class OpenedLiveGate(NamedTuple):
    """An open gate; implements `session.live_stage.LiveRelease`."""

    release: Release

    def build_stage(self, wiring: LiveWiring) -> LiveStage:
        """Return the live execution stage, not yet started."""
        return LiveExecution(self.release, wiring)
