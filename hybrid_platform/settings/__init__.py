"""Settings of a session: validated once, hashed, frozen."""
