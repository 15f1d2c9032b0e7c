"""The sandbox: user code computes, reads its own code and talks to its parent, and can do nothing else (I1).

`spawn.spawn` starts a sandboxed process and reads its sandbox back; the process's main module calls `child.enter`
first. If everything runs in one process, `threads.ThreadSandbox` covers the stages' threads. The level follows from
what was read back, see ``docs/isolation.md``; ``python -m hybrid_platform.sandbox`` shows it for this host. This module
imports nothing, so that a sandboxed child loads only its own half.
"""
