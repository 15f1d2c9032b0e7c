"""Alembic's place: `env` runs the revisions of ``versions/`` on the connection that `storage.migrate` holds."""

REVISION = "0002"
"""The newest revision; here so that a database that is up to date costs no import of Alembic."""
