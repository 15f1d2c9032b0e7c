"""The sources of ticks, as external assets."""
