"""The command line ``hybrid-platform``: the platform's work without Dagster.

`main` only wires; each other module holds the commands of one topic in its `COMMANDS`. Commands import what is heavy
inside their functions, so that ``--help`` and ``healthcheck`` answer at once.
"""
