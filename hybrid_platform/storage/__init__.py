"""The database of a session: schema, migrations, PRAGMAs, the only writer, and everything that reads it back.

`location` and `connection` open the file, `engine` wraps it for SQLAlchemy, `migrate` updates the schema and
`pragmas` proves the settings. `sessions` keeps the sessions' own rows and `writer` writes one session's data;
`queries`, `reader`, `frames`, `export` and `audit` read. `archive` reads ticks that `archiver` moved to files, and
`backup` copies and replaces the whole database. Policy (which sessions, when, under which lease) is in
`hybrid_platform.maintenance`.
"""
