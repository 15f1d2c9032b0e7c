"""Deployment files: systemd units that parse, commands that exist, and a container file with existing sources."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest

from hybrid_platform.cli.main import main
from hybrid_platform.domain.errors import ExitCode
from hybrid_platform_tests.support import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.suffix in {".service", ".target"})
SERVICES = [path for path in UNITS if path.suffix == ".service"]
SHADOW_RUN = DEPLOY / "systemd" / "hybrid-platform-shadow-run@.service"
SECCOMP = re.compile(
    r"^(SystemCall\w+|Restrict\w+|LockPersonality|MemoryDenyWriteExecute|PrivateDevices|ProtectClock|ProtectHostname"
    r"|ProtectKernel\w+|ProcSubset)=",
    re.MULTILINE,
)


def unit(path: Path) -> configparser.ConfigParser:
    """Read a unit; raise for a duplicate key or a line without one."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(path.read_text())
    return parser


def program(name: str) -> click.Command:
    """Return the command of a console script."""
    if name == "hybrid-platform":
        return main
    (script,) = entry_points(group="console_scripts", name=name)
    found = import_module(script.module).cli
    assert isinstance(found, click.Command)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_unit_parses_and_has_its_sections(path: Path):
    parsed = unit(path)
    wanted = {"Unit", "Install"} | ({"Service"} if path.suffix == ".service" else set())
    assert set(parsed.sections()) == wanted
    assert parsed["Unit"]["Description"]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_command_and_options_of_a_unit_exist(path: Path):
    name, *arguments = shlex.split(unit(path)["Service"]["ExecStart"])
    assert Path(name).is_relative_to("/opt/hybrid-platform/.venv/bin")
    command = program(Path(name).name)
    if isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(arguments)
    assert values and not rest


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_service_is_unprivileged_and_uses_no_seccomp(path: Path):
    service = unit(path)["Service"]
    assert service["User"] == service["Group"] == "hybrid-platform"
    assert service["StateDirectory"].startswith("hybrid-platform/")
    assert service["WorkingDirectory"].startswith("%S/hybrid-platform/")
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")
    assert service["CapabilityBoundingSet"] == ""
    assert not SECCOMP.search(path.read_text())


@pytest.mark.scenario("S13")
def test_shadow_run_unit_restarts_by_exit_code():
    service = unit(SHADOW_RUN)["Service"]
    assert (service["Type"], service["NotifyAccess"], service["Restart"]) == ("notify", "main", "on-failure")
    never = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert never == {ExitCode.CONFIG, ExitCode.USAGE}, "restart after 1, 10, 11 and 13"
    assert "SuccessExitStatus" not in service, "only 0 is a success"
    assert int(service["WatchdogSec"]) >= 30
    assert service["KillSignal"] == "SIGTERM"


def test_target_wants_webserver_and_daemon():
    wanted = set(unit(DEPLOY / "systemd" / "hybrid-platform-dagster.target")["Unit"]["Wants"].split())
    assert wanted == {path.name for path in SERVICES} - {SHADOW_RUN.name}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_analyze_finds_no_fault(tmp_path: Path):
    for path in UNITS:
        text = path.read_text().replace("/opt/hybrid-platform/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / path.name.replace("@.", "@x.")).write_text(text)
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *names],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# The container


def instructions() -> list[tuple[str, str]]:
    text = (REPOSITORY / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def test_sources_of_the_container_exist_and_are_not_ignored():
    ignored = (REPOSITORY / ".containerignore").read_text()
    assert ignored == (REPOSITORY / ".dockerignore").read_text()
    kept = {line[1:] for line in ignored.splitlines() if line.startswith("!")}
    assert "*" in ignored.splitlines(), "everything else is excluded: data, keys, history"
    copied = set()
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            *sources, _ = rest.split()
            copied |= set(sources)
    assert copied == kept
    assert all((REPOSITORY / source).exists() for source in copied)


def test_container_is_unprivileged_and_locked_by_hashes():
    steps = instructions()
    froms = [rest.split()[0] for name, rest in steps if name == "FROM"]
    assert froms and all(re.fullmatch(r"python:3\.\d+-slim", image) for image in froms)
    runs = " ".join(rest for name, rest in steps if name == "RUN")
    assert "--require-hashes --requirement requirements.lock" in runs
    assert not re.search(r"https?://|curl|wget|apt|--index-url|sudo", runs)
    last = [name for name, _ in steps[max(index for index, step in enumerate(steps) if step[0] == "FROM") :]]
    assert "USER" in last and last.index("USER") < last.index("ENTRYPOINT")
    assert dict(steps)["USER"] == "10001:10001"
    assert dict(steps)["STOPSIGNAL"] == "SIGTERM"


def test_command_of_the_container_exists():
    steps = dict(instructions())
    (entry,), (name,) = json.loads(steps["ENTRYPOINT"]), json.loads(steps["CMD"])
    assert entry == "hybrid-platform" and name in main.commands
