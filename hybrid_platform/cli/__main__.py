"""``python -m hybrid_platform.cli``: the same as the command ``hybrid-platform``."""

from hybrid_platform.cli.main import main

if __name__ == "__main__":
    main()
