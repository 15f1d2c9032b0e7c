"""One session's pipeline: bounded channels, messages, stages, the strategy's host, overload control, ledger."""
