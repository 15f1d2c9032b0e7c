"""Vocabulary of the domain as frozen values: no I/O, no threads, no clock.

Every other room may import from here; this room imports nothing else of the platform.
"""
