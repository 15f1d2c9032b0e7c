"""Alembic's folder: `env` runs the revisions of ``versions/`` on the connection that `storage.migrate` passes in."""

REVISION = "0002"
"""The newest revision; kept here so that checking a current database does not import Alembic."""
