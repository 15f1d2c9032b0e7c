"""Sandboxed main module that runs nothing; `__main__` starts it to report the sandbox's strength on this host."""

from hybrid_platform.sandbox.child import enter

if __name__ == "__main__":
    enter().leave()
