"""Parameter sweeps and the verification matrix."""
