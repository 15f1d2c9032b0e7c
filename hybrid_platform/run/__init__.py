"""The composer: the four steps of a run, in order, for the CLI and for Dagster alike."""
