"""Policy that keeps the database usable between and during sessions, on top of the SQL in `hybrid_platform.storage`.

`lease` admits one user of the database at a time, `reserve` holds back resources for a session's end, `retention`
and `restore` change the database between sessions, and `lost_rows` finds rows that were lost since the last one.
"""
