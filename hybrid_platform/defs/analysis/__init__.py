"""Analysis of finished sessions: reproduction, comparison, parameter sweeps."""
