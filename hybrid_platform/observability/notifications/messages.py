"""Notifications for operators: one per failure, overload, halt, or recovery, redacted, with advice.

In: the end of a run, or a command. Out: a `Notification`, as JSON for a webhook or as text for Slack. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform.security.redaction import sanitize_text

MAX_REASONS = 5
MAX_REASON = 300
ADVICE = {
    ExitCode.CRASH: "Read the last errors in the log; committed rows are kept. A supervisor restarts the session.",
    ExitCode.NETWORK: "Check the network to the venue. A supervisor restarts the session with increasing waits.",
    ExitCode.PARSE: "Repair the source of the feed; good rows are kept.",
    ExitCode.CONFIG: "Correct the settings named in the reasons; the session is not restarted until then.",
    ExitCode.OVERLOAD: "Reduce the load of the machine, or the number of symbols. A supervisor restarts it later.",
}
_UNKNOWN = "See the run's page and log."


class NotificationKind(StrEnum):
    """Kind of a notification."""

    FAILURE = "FAILURE"
    OVERLOAD = "OVERLOAD"
    HALT = "HALT"
    """Trading was halted or reduced, by a person or a limit."""
    RECOVERY = "RECOVERY"
    """The first session that ended well after a failed one, or trading was resumed."""


class NotificationSource(NamedTuple):
    """Source of a notification."""

    at: str
    """ISO 8601, UTC."""
    host: str
    session_id: str | None
    run_id: str | None
    link: str | None
    """The run's page in the Dagster UI."""


class Notification(msgspec.Struct, frozen=True):
    """One notification; a webhook receives it as this JSON object."""

    event: NotificationKind
    title: str
    reasons: tuple[str, ...]
    advice: str
    exit_code: int | None
    at: str
    host: str
    session_id: str | None
    run_id: str | None
    link: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the body for a webhook."""
        return dict(json.loads(msgspec.json.encode(self)))

    def to_slack(self) -> dict[str, Any]:
        """Return the body for a Slack incoming webhook."""
        where = [f"host {self.host}"]
        where += [f"{name} {value}" for name, value in (("session", self.session_id), ("run", self.run_id)) if value]
        lines = [f"*{_escape(self.title)}*", *(f"• {_escape(reason)}" for reason in self.reasons)]
        lines += [_escape(self.advice), _escape(" · ".join([*where, self.at]))]
        if self.link:
            lines.append(f"<{_escape(self.link)}|Open in Dagster>")
        return {"text": "\n".join(line for line in lines if line), "unfurl_links": False}


def build_failure(source: NotificationSource, exit_code: int | None, reasons: Sequence[str]) -> Notification:
    """Return the notification of a failed run; ``exit_code`` is None if the run did not report one."""
    try:
        code = None if exit_code is None else ExitCode(exit_code)
    except ValueError:
        code = None
    name = "" if exit_code is None else f": {code.name if code else 'exit'} ({exit_code})"
    event = NotificationKind.OVERLOAD if code is ExitCode.OVERLOAD else NotificationKind.FAILURE
    return _build(event, f"shadow_run failed{name}", reasons, ADVICE.get(code, _UNKNOWN) if code else _UNKNOWN,
                   exit_code, source)  # fmt: skip


def build_recovery(source: NotificationSource, before: str) -> Notification:
    """Return the notification of a run that ended well after the failed run ``before``."""
    return _build(
        NotificationKind.RECOVERY, "shadow_run recovered", [f"the previous one, {before}, failed"], "", 0, source
    )


def build_trading_change(source: NotificationSource, command: Command) -> Notification:
    """Return the notification of a change of the trading state."""
    who = "a limit" if command.automatic else command.who
    resumed = command.kind is CommandKind.RESUME
    advice = "" if resumed else "Find the reason; then run `hybrid-platform resume --why …`, or the job resume_trading."
    return _build(
        NotificationKind.RECOVERY if resumed else NotificationKind.HALT,
        f"trading {command.kind.state} by {who}",
        [command.why],
        advice,
        None,
        source,
    )


def _build(
    event: NotificationKind,
    title: str,
    reasons: Sequence[str],
    advice: str,
    exit_code: int | None,
    source: NotificationSource,
) -> Notification:
    shown = [sanitize_text(reason, MAX_REASON) for reason in reasons[:MAX_REASONS]]
    if len(reasons) > MAX_REASONS:
        shown.append(f"and {len(reasons) - MAX_REASONS} more")
    return Notification(event, sanitize_text(title), tuple(shown), advice, exit_code, *source)


def _escape(text: str) -> str:
    """Return text that Slack shows literally, so that external text cannot mention, link, or format."""
    for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, escaped)
    return text
