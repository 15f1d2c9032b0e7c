"""Stand-alone healthchecks of the host and of the last session."""
