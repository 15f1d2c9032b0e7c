"""Notifications at a real receiver: their content, secrets that they never contain, and receivers that fail."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest

from hybrid_platform.cli import run_monitor
from hybrid_platform.cli.main import main
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.observability.notifications import channels, delivery
from hybrid_platform.observability.notifications.channels import check_address
from hybrid_platform.observability.notifications.delivery import Notifier, find_receivers
from hybrid_platform.observability.notifications.messages import (
    ADVICE,
    Notification,
    NotificationKind,
    NotificationSource,
    build_failure,
    build_recovery,
    build_trading_change,
)
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.operations import NotifySettings
from hybrid_platform.testing.log import ListLog
from hybrid_platform_tests.observability.receiver import PATH, Receiver, receiver
from hybrid_platform_tests.support import Artifacts, synthetic_feed

ORIGIN = NotificationSource(
    "2026-01-02T03:04:05.000000Z", "box", "20260102T030405Z-00000000", "run-1", "http://ui/runs/run-1"
)


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(channels, "FIRST_PAUSE_S", 0.01)
    with receiver() as kept:
        monkeypatch.setenv("HOOK", kept.address)
        yield kept


def deliver(notice: Notification, patience_s: float = 30, **settings: Any) -> tuple[list[str], ListLog]:
    log = ListLog()
    made = Notifier(NotifySettings(**{"webhook_env": "HOOK", **settings}), log)
    made.send(notice)
    return made.close(patience_s), log


# Content


def test_failure_has_reasons_origin_and_advice(listening: Receiver):
    assert deliver(build_failure(ORIGIN, 10, ["ingest: no answer from the venue"]))[0] == []
    (body,) = listening.bodies
    assert body == {
        "event": "FAILURE",
        "title": "shadow_run failed: NETWORK (10)",
        "reasons": ["ingest: no answer from the venue"],
        "advice": ADVICE[ExitCode.NETWORK],
        "exit_code": 10,
        "at": ORIGIN.at,
        "host": "box",
        "session_id": ORIGIN.session_id,
        "run_id": "run-1",
        "link": "http://ui/runs/run-1",
    }


@pytest.mark.parametrize("code", [code for code in ExitCode if code not in {ExitCode.COMPLETE, ExitCode.USAGE}])
def test_every_exit_code_has_advice(code: ExitCode):
    notice = build_failure(ORIGIN, int(code), ["why"])
    assert notice.advice == ADVICE[code]
    assert notice.event is (NotificationKind.OVERLOAD if code is ExitCode.OVERLOAD else NotificationKind.FAILURE)
    assert f"{code.name} ({int(code)})" in notice.title


def test_run_without_exit_code_is_reported():
    assert build_failure(ORIGIN, None, ["the worker is gone"]).title == "shadow_run failed"
    assert build_failure(ORIGIN, 99, []).title == "shadow_run failed: exit (99)"


def test_halt_and_resume_have_author_and_reason():
    halt = build_trading_change(ORIGIN, Command(CommandKind.HALT, "ann", "the market is closed"))
    assert (halt.event, halt.title, halt.reasons) == (
        NotificationKind.HALT,
        "trading HALTED by ann",
        ("the market is closed",),
    )
    limit = build_trading_change(ORIGIN, Command(CommandKind.REDUCE, "risk engine", "drawdown", automatic=True))
    assert (limit.event, limit.title) == (NotificationKind.HALT, "trading REDUCING by a limit")
    resume = build_trading_change(ORIGIN, Command(CommandKind.RESUME, "ann", "it is open"))
    assert (resume.event, resume.title) == (NotificationKind.RECOVERY, "trading ACTIVE by ann")


def test_slack_text_has_no_foreign_mentions_or_links(listening: Receiver, monkeypatch: pytest.MonkeyPatch):
    notice = build_failure(ORIGIN, 1, ["strategy: <!channel> & <https://evil|click>"])
    assert deliver(notice, webhook_env=None, slack_env="HOOK")[0] == []
    (body,) = listening.bodies
    assert set(body) == {"text", "unfurl_links"}
    assert "*shadow_run failed: CRASH (1)*" in body["text"]
    assert "• strategy: &lt;!channel&gt; &amp; &lt;https://evil|click&gt;" in body["text"]
    assert body["text"].count("<") == 1 and "<http://ui/runs/run-1|Open in Dagster>" in body["text"]


def test_reasons_are_bounded_and_hold_no_secret(listening: Receiver):
    secret = "hunter2hunter2"
    reasons = [f"feed: wss://user:{secret}@venue/x refused: api_key={secret}", "a\nb\x1b[31m" + "x" * 5000]
    deliver(build_failure(ORIGIN, 1, reasons + [f"reason {n}" for n in range(10)]))
    text = json.dumps(listening.bodies)
    assert secret not in text and "***" in text
    assert len(text) < 2_500 and "and 7 more" in text
    assert "\\u001b" not in text


# A receiver that fails


def test_receiver_error_is_retried(listening: Receiver):
    listening.status = lambda tries: 500 if tries < 3 else 200
    assert deliver(build_failure(ORIGIN, 1, []))[0] == []
    assert len(listening.bodies) == 3


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (429, 3), (404, 1), (401, 1)])
def test_undelivered_notification_is_logged_with_status(listening: Receiver, status: int, tries: int):
    listening.status = lambda _: status
    faults, log = deliver(build_failure(ORIGIN, 1, []))
    assert faults == [f"webhook: HTTP {status}"]
    assert len(listening.bodies) == tries
    (line,) = log.of("notification not delivered")
    assert (line["to"], line["why"]) == ("webhook", f"HTTP {status}")


def test_a_redirect_is_not_followed(listening: Receiver):
    with receiver() as elsewhere:
        listening.status, listening.location = (lambda _: 307), elsewhere.address
        faults, _ = deliver(build_failure(ORIGIN, 1, []))
        assert faults == ["webhook: HTTP 307 (redirects are not followed)"]
        assert elsewhere.bodies == []
    assert len(listening.bodies) == 1


def test_unreachable_receiver_is_named_without_address(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(channels, "FIRST_PAUSE_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:{port}{PATH}")
    faults, log = deliver(build_failure(ORIGIN, 1, []))
    assert faults == ["webhook: ConnectionError"]
    assert "SECRET" not in repr(log.entries) and str(port) not in repr(log.entries)


def test_unexpected_error_is_a_fault(listening: Receiver, monkeypatch: pytest.MonkeyPatch):
    def post(*_: Any, **__: Any) -> str:
        raise LookupError(listening.address)

    monkeypatch.setattr(delivery, "post", post)
    faults, log = deliver(build_failure(ORIGIN, 1, []))
    assert faults == ["webhook: LookupError"]
    assert listening.address not in repr(log.entries)


def test_silent_receiver_costs_only_its_timeout(listening: Receiver):
    listening.answers.clear()
    started = time.monotonic()
    faults, _ = deliver(build_failure(ORIGIN, 1, []), timeout_seconds=0.2, attempts=2)
    assert faults == ["webhook: ReadTimeout"]
    faults, _ = deliver(build_failure(ORIGIN, 1, []), patience_s=0.2, timeout_seconds=20)
    assert faults == ["webhook: not delivered in time"]
    assert time.monotonic() - started < 15, "far less than the 20 s that the receiver may take"


def test_one_receiver_does_not_wait_for_another(listening: Receiver, monkeypatch: pytest.MonkeyPatch):
    with receiver() as other:
        listening.answers.clear()
        monkeypatch.setenv("OTHER", other.address)
        faults, _ = deliver(build_failure(ORIGIN, 1, []), patience_s=1, slack_env="OTHER", timeout_seconds=20)
        assert len(other.bodies) == 1
        assert faults == ["webhook: not delivered in time"]


def test_no_password_file_and_no_proxy_for_loopback(
    listening: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert deliver(build_failure(ORIGIN, 1, []))[0] == []
    # The same for a receiver on another host, for which the environment's proxies apply.
    monkeypatch.setattr(channels, "LOOPBACK", ())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    elsewhere = channels.Receiver("webhook", listening.address)
    assert channels.post(elsewhere, {}, timeout_s=30, attempts=1) == ""
    assert len(listening.headers) == 2 and not any("Authorization" in headers for headers in listening.headers)


def test_without_receivers_no_thread_starts(listening: Receiver):
    before = threading.active_count()
    assert deliver(build_failure(ORIGIN, 1, []), webhook_env=None) == ([], ANY)
    assert listening.bodies == [] and threading.active_count() == before


# Addresses


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://hooks.example/x", ""),
        ("http://127.0.0.1:8/x", ""),
        ("http://example.org/x", "http to another machine"),
        ("ftp://example.org/x", "not an https URL"),
        ("https://", "not an https URL"),
        ("https://[x", "not a URL"),
        ("https://a b/x", "characters that a URL"),
        ("https://a/\r\nHost: b", "characters that a URL cannot have"),
    ],
)
def test_an_address_is_https_or_on_this_machine(address: str, fault: str):
    assert fault in check_address(address) if fault else not check_address(address)


def test_missing_variable_or_file_is_a_config_error(tmp_path: Path):
    for settings, environ, expected in (
        ({"slack_env": "SLACK"}, {}, "notify.slack_env: expected the variable SLACK to hold an address"),
        ({"slack_env": "SLACK"}, {"SLACK": "http://s3cret.example/x"}, "http to another machine"),
        ({"webhook_file": str(tmp_path / "none")}, {}, "notify.webhook_file: expected a readable file"),
    ):
        with pytest.raises(ConfigError, match=expected) as error:
            find_receivers(NotifySettings(**settings), environ)
        assert "s3cret" not in str(error.value)


def test_address_file_must_be_private(tmp_path: Path):
    path = tmp_path / "hook"
    path.write_text("https://hooks.example/x\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="only its owner may use"):
        find_receivers(NotifySettings(webhook_file=str(path)))
    path.chmod(0o600)
    (found,) = find_receivers(NotifySettings(webhook_file=str(path)))
    assert found.address == "https://hooks.example/x"
    assert "hooks.example" not in repr(found) + str(found) + f"{found}"


@pytest.mark.parametrize("key", ["slack_env", "webhook_env", "slack_file", "webhook_file"])
def test_address_instead_of_name_is_refused_and_hidden(key: str):
    with pytest.raises(ConfigError) as error:
        load_settings({"notify": {key: "https://hooks.example/s3cret"}}, environ={})
    assert "s3cret" not in str(error.value) and "not shown" in str(error.value)


def test_settings_variable_cannot_hold_a_secret():
    with pytest.raises(ConfigError, match="none that begins HYBRID_PLATFORM_"):
        load_settings({"notify": {"slack_env": "HYBRID_PLATFORM_SLACK"}}, environ={})


def test_notify_settings_do_not_change_the_trading_digest():
    plain = load_settings({}, environ={})
    notifying = load_settings({"notify": {"slack_env": "SLACK"}, "metrics": {"port": 1}}, environ={})
    assert plain.trading_sha256 == notifying.trading_sha256
    assert plain.config_sha256 != notifying.config_sha256


# The command line


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the report, because its plots take longer than the session."""
    finalized = SimpleNamespace(report="none")
    monkeypatch.setattr("hybrid_platform.run.steps.finalize_run", lambda run: finalized)


def shadow_run(data_dir: Path, *more: str) -> int:
    """Run the command in this process; return its exit code."""
    sets = ["notify.webhook_env=HOOK", "isolation=thread", "gates.cpu_pressure_limit=100", *more]
    arguments = ["shadow-run", "--data-dir", str(data_dir), *(part for each in sets for part in ("--set", each))]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def feed(ticks: int) -> str:
    return "feed=" + json.dumps(synthetic_feed("max", ticks=ticks)["feed"])


@pytest.mark.scenario("S14")
@pytest.mark.usefixtures("no_report")
def test_command_notifies_failure_then_recovery(listening: Receiver, tmp_path: Path):
    data = tmp_path / "data"
    assert shadow_run(data, feed(20), "mode=LIVE") == 12
    assert shadow_run(data, feed(20)) == 0
    assert shadow_run(data, feed(20)) == 0, "a second success sends nothing"
    failure, recovery = listening.bodies
    assert (failure["event"], failure["exit_code"]) == ("FAILURE", 12)
    assert any("live" in reason.lower() for reason in failure["reasons"])
    assert recovery["event"] == "RECOVERY"
    assert failure["session_id"] in recovery["reasons"][0]
    written = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert b"SECRET" not in written, "neither log, evidence nor database has the address"
    assert written.count(b'"message":"notification delivered"') == 2


@pytest.mark.scenario("G2")
def test_host_under_pressure_is_notified_as_overload(listening: Receiver, tmp_path: Path):
    assert shadow_run(tmp_path / "data", feed(20), "gates.cpu_pressure_limit=0") == 13
    assert [body["event"] for body in listening.bodies] == ["OVERLOAD"]


def test_halt_is_notified_while_the_session_runs(listening: Receiver, tmp_path: Path):
    limits = ["risk.max_exposure_usd=1", "risk.halt_after_vetoes=2"]
    assert shadow_run(tmp_path / "data", "seconds=0.5", "feed.synthetic.ticks_per_second=100", *limits) == 0
    (halt,) = listening.bodies
    assert (halt["event"], halt["title"]) == ("HALT", "trading HALTED by a limit")
    artifacts = Artifacts(tmp_path / "data")
    assert halt["session_id"] == artifacts.session_id
    assert "SECRET" not in artifacts.report and "HOOK" in json.dumps(artifacts.evidence("preflight"))


def test_config_error_is_notified_before_any_write(listening: Receiver, tmp_path: Path):
    assert shadow_run(tmp_path / "data", "strategy.name=no_such") == 12
    (failure,) = listening.bodies
    assert failure["exit_code"] == 12 and "no_such" in failure["reasons"][0]
    assert not (tmp_path / "data").exists()


def test_unreachable_receiver_does_not_change_the_exit_code(
    listening: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_monitor, "DELIVERY_SECONDS", 0.3)
    listening.answers.clear()
    assert shadow_run(tmp_path / "data", feed(20), "mode=LIVE") == 12
    artifacts = Artifacts(tmp_path / "data")
    assert artifacts.has_evidence("preflight")
    assert [line["why"] for line in artifacts.logged("notification not delivered")] == ["not in time"]


def test_unset_variable_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("HOOK", raising=False)
    assert shadow_run(tmp_path / "data", feed(20)) == 12
    assert "".join(capsys.readouterr()).count("the variable HOOK to hold an address") == 1
    assert not (tmp_path / "data").exists()


def test_recovery_names_the_failed_session():
    assert build_recovery(ORIGIN, "X (FAILED)").reasons == ("the previous one, X (FAILED), failed",)
