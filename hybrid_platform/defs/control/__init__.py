"""The kill switch: halt, reduce and resume trading."""
