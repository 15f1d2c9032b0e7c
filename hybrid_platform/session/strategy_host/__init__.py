"""Hosts of the strategy: threads of this process, or a sandboxed process behind pipes."""
