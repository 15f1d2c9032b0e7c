"""The database: schema, migrations, PRAGMAs, the one writer of a session, and the reading of what it wrote.

`engine` opens, `migrate` brings up to date, `pragmas` proves, `sessions` keeps the lives of sessions,
`writer` writes one session's rows, `queries`, `frames`, `stored` and `export` read them back.
"""
