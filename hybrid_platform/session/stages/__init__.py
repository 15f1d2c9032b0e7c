"""The four stages of the pipeline, each one thread: ingest, strategy, execution, persist."""
