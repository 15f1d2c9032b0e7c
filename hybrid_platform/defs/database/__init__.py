"""The database's tables, as external assets."""
