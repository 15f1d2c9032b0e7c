"""What must hold before and after a session: preflight, database, postflight, and what a session proves."""
