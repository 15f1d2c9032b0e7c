"""The gated session: preflight, PRAGMA verification, the shadow run and postflight evidence."""
