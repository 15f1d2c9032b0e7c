"""What operators are told: one notice per failure, overload, halt or recovery, redacted, with what to do.

in: how a run ended, or a command · out: a `Notice`, as JSON for a webhook and as text for Slack. Pure.
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
    ExitCode.CRASH: "Read the log's last errors; what was committed is kept. A supervisor starts it again.",
    ExitCode.NETWORK: "Check the line to the venue. A supervisor starts it again, later each time.",
    ExitCode.PARSE: "Mend the feed's source; the good rows are kept.",
    ExitCode.CONFIG: "Correct what the reasons name; nothing starts it again until then.",
    ExitCode.OVERLOAD: "Give the machine room, or the session fewer symbols. A supervisor starts it again, later.",
}
_UNKNOWN = "Look at the run's page and log."


class Event(StrEnum):
    """What happened."""

    FAILURE = "FAILURE"
    OVERLOAD = "OVERLOAD"
    HALT = "HALT"
    """Trading was halted or reduced, by a person or a limit."""
    RECOVERY = "RECOVERY"
    """The first session that ended well after one that did not, or trading was resumed."""


class Origin(NamedTuple):
    """Where a notice comes from."""

    at: str
    """ISO 8601, UTC."""
    host: str
    session_id: str | None
    run_id: str | None
    link: str | None
    """The run's page in the Dagster UI."""


class Notice(msgspec.Struct, frozen=True):
    """One notice; a webhook gets it as this JSON object."""

    event: Event
    title: str
    reasons: tuple[str, ...]
    advice: str
    exit_code: int | None
    at: str
    host: str
    session_id: str | None
    run_id: str | None
    link: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the body for a webhook."""
        return dict(json.loads(msgspec.json.encode(self)))

    def as_slack(self) -> dict[str, Any]:
        """Return the body for a Slack incoming webhook."""
        where = [f"host {self.host}"]
        where += [f"{name} {value}" for name, value in (("session", self.session_id), ("run", self.run_id)) if value]
        lines = [f"*{_plain(self.title)}*", *(f"• {_plain(reason)}" for reason in self.reasons)]
        lines += [_plain(self.advice), _plain(" · ".join([*where, self.at]))]
        if self.link:
            lines.append(f"<{_plain(self.link)}|Open in Dagster>")
        return {"text": "\n".join(line for line in lines if line), "unfurl_links": False}


def ended_badly(origin: Origin, exit_code: int | None, reasons: Sequence[str]) -> Notice:
    """Return the notice of a run that failed; ``exit_code`` is None where it did not get to say one."""
    try:
        code = None if exit_code is None else ExitCode(exit_code)
    except ValueError:
        code = None
    name = "" if exit_code is None else f": {code.name if code else 'exit'} ({exit_code})"
    event = Event.OVERLOAD if code is ExitCode.OVERLOAD else Event.FAILURE
    return _notice(event, f"shadow_run failed{name}", reasons, ADVICE.get(code, _UNKNOWN) if code else _UNKNOWN,
                   exit_code, origin)  # fmt: skip


def recovered(origin: Origin, before: str) -> Notice:
    """Return the notice of a run that ended well after one that did not, which ``before`` names."""
    return _notice(Event.RECOVERY, "shadow_run ends well again", [f"the one before, {before}, did not"], "", 0, origin)


def commanded(origin: Origin, command: Command) -> Notice:
    """Return the notice of a change of the trading state."""
    who = "a limit" if command.automatic else command.who
    resumed = command.kind is CommandKind.RESUME
    advice = "" if resumed else "Find out why; then `hybrid-platform resume --why …`, or the job resume_trading."
    return _notice(
        Event.RECOVERY if resumed else Event.HALT,
        f"trading {command.kind.state} by {who}",
        [command.why],
        advice,
        None,
        origin,
    )


def _notice(
    event: Event, title: str, reasons: Sequence[str], advice: str, exit_code: int | None, origin: Origin
) -> Notice:
    told = [sanitize_text(reason, MAX_REASON) for reason in reasons[:MAX_REASONS]]
    if len(reasons) > MAX_REASONS:
        told.append(f"and {len(reasons) - MAX_REASONS} more")
    return Notice(event, sanitize_text(title), tuple(told), advice, exit_code, *origin)


def _plain(text: str) -> str:
    """Return text that Slack shows as it is: no mention, link or mark-up of somebody else's making."""
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, shown)
    return text
