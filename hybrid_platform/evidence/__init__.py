"""Evidence: what gates and sessions saw, written so that somebody else can check it."""
