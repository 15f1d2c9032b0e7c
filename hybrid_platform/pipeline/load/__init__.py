"""What a session does about its load: watch it, sample the feed, and tell a stuck stage from a dead one (S13, S15)."""
