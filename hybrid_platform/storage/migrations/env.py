"""Alembic's environment: run the revisions in the caller's transaction, or print them as SQL (offline mode)."""

from __future__ import annotations

from alembic import context

from hybrid_platform.storage.schema import METADATA

connection = context.config.attributes.get("connection")
if connection is None:
    url = context.config.get_main_option("sqlalchemy.url")
    context.configure(url=url, target_metadata=METADATA, literal_binds=True)
else:
    context.configure(connection=connection, target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
