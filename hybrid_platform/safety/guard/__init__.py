"""The guard: user code computes, reads its code, talks to its parent, and does nothing else (I1).

`spawn` starts a guarded process and reads the guard back; its main module calls `enter` first. Where
everything runs in one process, `ThreadGuards` guards the stages' threads. What holds is decided from
what was read back, see ``docs/isolation.md``. ``python -m hybrid_platform.safety.guard`` shows this host.
"""

from hybrid_platform.safety.guard.bpf import Filter
from hybrid_platform.safety.guard.child import Guard, enter
from hybrid_platform.safety.guard.guarded import GuardedChild
from hybrid_platform.safety.guard.spawn import spawn
from hybrid_platform.safety.guard.threads import ThreadGuards

__all__ = ["Filter", "Guard", "GuardedChild", "ThreadGuards", "enter", "spawn"]
