"""Keeping one session of the wanted configuration alive: what is wanted, what is seen, and what follows from it.

Nothing here launches or ends a run: the sensor in `defs` looks and acts, `policy` decides, purely.
"""
