"""Dagster's own messages on the terminal: what a person wants to know, one line each, no tracebacks.

The event log keeps everything; the UI shows it.
"""

from __future__ import annotations

import logging
import sys

import dagster as dg


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        event = getattr(record, "dagster_event", None)
        step = meta.get("step_key") or meta.get("job_name") or "dagster"
        message = meta.get("orig_message") or record.getMessage()
        error = getattr(getattr(event, "event_specific_data", None), "error", None)
        if error is not None:
            # The innermost message is the platform's own; what is around it is Dagster's.
            message = f"{message} {' '.join(_innermost(error).split())}"
        return f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():8} {step}: {message.strip()}"


def _innermost(error: object) -> str:
    while (cause := getattr(error, "cause", None)) is not None:
        error = cause
    return str(getattr(error, "message", ""))


@dg.logger(
    config_schema={"log_level": dg.Field(str, is_required=False, default_value="INFO")},
    description="One line a message, at INFO and above.",
)
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """Return the logger that the CLI's terminal shows."""
    level = context.logger_config["log_level"].upper()
    logger = logging.Logger("dagster", level=level)  # noqa: LOG001: per run, as Dagster's own
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    logger.addHandler(handler)
    return logger
