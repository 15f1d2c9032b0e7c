"""What keeps the outside out: files below one root, text without secrets or tricks, the structured log."""
