"""Decide a finished session again from its ticks and its journal, and compare row by row (S8).

`journal` reads what was not a tick, `replay` drives strategy and execution, `compare` holds the rows
against those in the database, `session` judges, `fresh` does it in a process of its own.
"""
