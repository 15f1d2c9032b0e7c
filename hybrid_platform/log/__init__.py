"""The structured log: sinks, event names, and how a finished log is read."""
