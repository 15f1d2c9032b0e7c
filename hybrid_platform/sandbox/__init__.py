"""The guard: user code computes, reads its code, talks to its parent, and does nothing else (I1).

`spawn.spawn` starts a guarded process and reads the guard back; its main module calls `child.enter`
first. Where everything runs in one process, `threads.ThreadSandbox` guards the stages' threads. What
holds is decided from what was read back, see ``docs/isolation.md``; ``python -m
hybrid_platform.sandbox`` shows this host. Nothing is imported here: a guarded child starts with
its own half only.
"""
