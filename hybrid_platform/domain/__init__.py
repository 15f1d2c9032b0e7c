"""The field's own words as frozen values: no I/O, no threads, no clock of its own.

Everything else in the platform imports from here, and this room imports nothing of the platform.
"""
