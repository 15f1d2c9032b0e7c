"""The host: CPU pressure, system state, process identity, the healthcheck and the flight recorder (G1, G2, I7)."""
