"""Safe paths below the data directory, and redaction of secrets."""
