"""Reproduction: recompute a finished session from its ticks and its journal, and compare row by row (S8).

`journal` parses the inputs that are not ticks, `replay` drives strategy and execution, `compare` compares the rows with
those in the database, `session` gives the verdict, and `fresh` runs all of it with the strategy in a fresh sandbox.
"""
