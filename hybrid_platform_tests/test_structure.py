"""Automated code review: structure of the code, and content of the files around it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import hybrid_platform
from hybrid_platform.domain.errors import OverloadError
from hybrid_platform.session.factories import build_channels
from hybrid_platform.session.messages import RecordMessage
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, REPOSITORY, child_environment

PACKAGE = Path(hybrid_platform.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LIVE_FEEDS = {
    "synthetic": {"synthetic": {}},
    "websocket": {"websocket": {"sources": [{"venue": "binance", "symbols": ["BTCUSDT"]}]}},
}


def collect_imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


# I6: strategy and execution never wait for disk


@pytest.mark.scenario("I6", "S6")
@pytest.mark.parametrize("feed", LIVE_FEEDS)
def test_send_to_a_live_persist_channel_never_waits(feed: str):
    channel = build_channels(load_settings({"feed": LIVE_FEEDS[feed]}, environ={})).persist
    assert channel.policy is OnFull.DROP_OLDEST
    record = RecordMessage((None,))  # type: ignore[arg-type]  # the content does not matter here
    refused: list[BaseException] = []

    def fill() -> None:
        try:
            for _ in range(10 * channel.capacity):
                channel.send(record)
            for _ in range(10 * channel.capacity):
                channel.send(record, guaranteed=True)
        except OverloadError as error:
            refused.append(error)

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    filler.join(PROCESS_TIMEOUT_S)
    assert not filler.is_alive(), "it waits for a receiver"
    assert refused, "a full reserve raises instead of waiting"
    assert channel.stats().blocked == 0


@pytest.mark.scenario("I6", "S6")
@pytest.mark.parametrize("feed", LIVE_FEEDS)
def test_channels_of_live_feeds_block_only_if_set_to(feed: str):
    policies = [channel.policy for channel in build_channels(load_settings({"feed": LIVE_FEEDS[feed]}, environ={}))]
    assert policies == [OnFull.DROP_OLDEST, OnFull.FAIL, OnFull.DROP_OLDEST]
    replay = load_settings({"feed": {"replay": {"path": "x.csv"}}}, environ={})
    assert {channel.policy for channel in build_channels(replay)} == {OnFull.BLOCK}
    stated = load_settings({"feed": LIVE_FEEDS[feed], "channels": {"on_full": "BLOCK", "tick": 9}}, environ={})
    assert {channel.policy for channel in build_channels(stated)} == {OnFull.BLOCK}
    assert build_channels(stated).tick.capacity == 9


@pytest.mark.scenario("I6")
@pytest.mark.parametrize("name", ["strategy", "execution", "decision_sink"])
def test_deciding_stages_import_no_storage_and_open_no_file(name: str):
    path = PACKAGE / "session" / "stages" / f"{name}.py"
    assert not [
        module for module in collect_imports(path) if "storage" in module or module in {"sqlite3", "sqlalchemy"}
    ]
    called = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert "open" not in called


# Rooms


@pytest.mark.scenario("S8")
@pytest.mark.parametrize("room", ["domain", "strategies"])
def test_pure_rooms_read_no_clock_and_no_randomness(room: str):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        if path.name == "clocks.py":
            continue
        used = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert not {
            call for call in used if re.match(r"(time\.|datetime\.(now|utcnow)|random\.|uuid\.|secrets\.)", call)
        }, path


@pytest.mark.scenario("I1")
def test_sandboxed_processes_start_in_one_module():
    entering = [
        str(path.relative_to(PACKAGE)) for path in MODULES
        if path.parent != PACKAGE / "sandbox" and "hybrid_platform.sandbox.child.enter" in collect_imports(path)
    ]  # fmt: skip
    assert entering == ["session/strategy_host/bootstrap.py"]


def test_command_line_and_pipeline_import_no_dagster(tmp_path: Path):
    script = (
        "import sys\n"
        "import hybrid_platform.cli.main, hybrid_platform.session.runner, hybrid_platform.gates.postflight\n"
        "import hybrid_platform.report.writer\n"
        "sys.exit(any(name.partition('.')[0] == 'dagster' for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=child_environment(tmp_path), check=False)
    assert done.returncode == 0


def test_import_reads_no_configuration(tmp_path: Path):
    wrong = child_environment(tmp_path, HYBRID_PLATFORM_SECONDS="nonsense", HYBRID_PLATFORM_NO_SUCH="1")
    command = [sys.executable, "-c", "import hybrid_platform.definitions"]
    done = subprocess.run(command, cwd=tmp_path, env=wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_have_docstrings_and_stay_small(path: Path):
    assert path.stat().st_size < 24 * 1024
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert docstring or path.read_text().strip() == ""
    assert len(docstring.splitlines()) <= 12, "purpose, input and output; the rest belongs to docs/"


# The files around the code


def collect_names(requirements: list[str]) -> dict[str, Requirement]:
    return {item.name.lower().replace("_", "-"): item for item in map(Requirement, requirements)}


def read_lock(name: str) -> dict[str, Version]:
    text = (REPOSITORY / name).read_text()
    return {
        name.lower().replace("_", "-"): Version(version)
        for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M)
    }


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_have_hashes_and_no_addresses(name: str):
    text = (REPOSITORY / name).read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host| @ ", text)
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_dependencies_are_bounded_and_read_lock():
    extras = PYPROJECT["project"]["optional-dependencies"]
    run = collect_names([*PYPROJECT["project"]["dependencies"], *extras["build"]])
    develop = collect_names(extras["dev"])
    for wanted, lock in ((run, read_lock("requirements.lock")), (run | develop, read_lock("requirements-dev.lock"))):
        for name, requirement in wanted.items():
            assert any(item.operator in {">=", "=="} for item in requirement.specifier), name
            assert lock[name] in requirement.specifier, name
    assert {
        name: version
        for name, version in read_lock("requirements-dev.lock").items()
        if name in read_lock("requirements.lock")
    } == (read_lock("requirements.lock"))


def test_project_declares_scripts_and_entry_points():
    project = PYPROJECT["project"]
    assert project["requires-python"] == ">=3.11"
    assert project["scripts"] == {"hybrid-platform": "hybrid_platform.cli.main:main"}
    strategies = project["entry-points"]["hybrid_platform.strategies"]
    assert set(strategies) >= {"periodic", "sma_crossover"}
    for path in (*strategies.values(), *project["scripts"].values()):
        module, _, name = path.partition(":")
        assert hasattr(__import__(module, fromlist=[name]), name)
    assert PYPROJECT["tool"]["dg"]["project"]["code_location_target_module"] == "hybrid_platform.definitions"
    assert (PACKAGE / "py.typed").exists()


def test_clean_clone_has_all_needed_files():
    for name in (
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Makefile",
        ".ci/run",
        "workspace.yaml",
        "dagster.yaml",
        "pyproject.toml",
    ):
        assert (REPOSITORY / name).read_text().strip(), name
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test", "setup", "dev", "check"} <= targets
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o111
    text = (REPOSITORY / ".ci" / "run").read_text()
    assert "make check" in text and "make test" in text and "git clone" in text
