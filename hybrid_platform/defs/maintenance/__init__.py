"""Retention of ticks, logs and Dagster's own runs."""
