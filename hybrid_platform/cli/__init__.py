"""The command line: ``hybrid-platform``."""
