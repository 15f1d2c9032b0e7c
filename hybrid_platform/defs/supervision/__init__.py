"""The supervisor that keeps one session running."""
