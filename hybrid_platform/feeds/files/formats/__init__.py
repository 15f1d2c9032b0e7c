"""Readers of the file formats: CSV, JSON lines, Parquet."""
