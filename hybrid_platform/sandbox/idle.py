"""A guarded main module that runs nothing: what `__main__` starts to show what this host's guard is worth."""

from hybrid_platform.sandbox.child import enter

if __name__ == "__main__":
    enter().leave()
