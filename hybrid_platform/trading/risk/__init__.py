"""Risk engine: pre-trade checks, limits, exposure, loss limits, the kill switch."""
