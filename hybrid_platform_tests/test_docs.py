"""README and docs: every command, option and link exists, and the examples run."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from hybrid_platform.cli.main import main
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.settings.loading import NOT_SETTINGS, load_settings, parse_assignment
from hybrid_platform_tests.definitions import defs
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, REPOSITORY, Artifacts, child_environment

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:make|dagster|dg|hybrid-platform) [^`\n]+)`(?!`)")
REPOSITORY_PATH = re.compile(r"[\w.-]+/(?:[\w./-]*(?:\.py|\.md|\.yaml|\.toml|/))?")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCED.findall(page.read_text()) if language in languages]


def commands() -> list[tuple[str, list[str]]]:
    """Return page and words of every command that a page shows."""
    found = []
    for page in PAGES:
        typed = [
            line[2:] for text in blocks(page, "console", "sh", "bash") for line in text.splitlines() if line[:2] == "$ "
        ]
        for line in [*typed, *INLINE.findall(page.read_text())]:
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            found.append((f"{page.name}: {line}", words))
    return found


COMMANDS = commands()


def find_commands(name: str) -> list[tuple[str, list[str]]]:
    """Return the places of a program's commands, and the words after the program; `…` stands for omitted words."""
    found = [(where, words[1:]) for where, words in COMMANDS if words and Path(words[0]).name == name]
    return [(where, words) for where, words in found if words[:1] != ["…"]]


def test_pages_show_commands():
    assert len(find_commands("make")) >= 3
    assert len(find_commands("hybrid-platform")) >= 6
    assert len(find_commands("dagster")) >= 1


@pytest.mark.parametrize(("where", "words"), find_commands("hybrid-platform"), ids=lambda value: str(value)[:60])
def test_each_command_and_option_exists(where: str, words: list[str]):
    name, *arguments = words
    command = main.commands[name]
    parser = command.make_parser(click.Context(command))
    options, _, _ = parser.parse_args([argument for argument in arguments if argument != "…"])
    for assignment in options.get("assignments") or []:
        require_setting(assignment)


def require_setting(assignment: str) -> None:
    """Raise if the setting does not exist; its value is free."""
    try:
        load_settings(parse_assignment(assignment), environ={})
    except ConfigError as error:
        assert "no such setting" not in str(error), assignment


def test_each_make_target_exists():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for where, words in find_commands("make"):
        named = [word for word in words if "=" not in word and not word.startswith("-")]
        assert set(named) <= targets, where


def test_each_dagster_command_uses_an_existing_job():
    jobs = set(defs.get_repository_def().job_names)
    for where, words in [*find_commands("dagster"), *find_commands("dg")]:
        for flag in ("-j", "--job"):
            if flag in words:
                assert words[words.index(flag) + 1] in jobs, where
        if "-m" in words:
            assert importlib.util.find_spec(words[words.index("-m") + 1]), where


def test_each_module_to_run_exists():
    for page in PAGES:
        for module in re.findall(r"python -m (hybrid_platform[\w.]*)", page.read_text()):
            assert importlib.util.find_spec(module), f"{page.name}: {module}"


def test_each_environment_variable_is_a_known_setting():
    for page in PAGES:
        for name in re.findall(r"HYBRID_PLATFORM_[A-Z_]*[A-Z]\b", page.read_text()):
            if not name.startswith(NOT_SETTINGS):
                require_setting(f"{name.removeprefix('HYBRID_PLATFORM_').lower().replace('__', '.')}=1")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_within_the_repository_exists(page: Path):
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target.partition("#")[0]).resolve() if not target.startswith("#") else page
        assert path.exists(), target
        assert path.is_relative_to(REPOSITORY), target


def test_each_page_is_linked_from_another():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if not re.match(r"[a-z]+:", target)
    }
    lonely = {page for page in PAGES[1:] if page.resolve() not in linked and page.parent.resolve() not in linked}
    assert {page.name for page in lonely} == set()


def test_each_path_in_the_recipes_exists():
    """Paths with a placeholder such as `<name>.py` are files that the reader creates."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    paths = [path for path in re.findall(r"`([\w./-]+)`", text) if REPOSITORY_PATH.fullmatch(path)]
    assert len(paths) > 20
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_are_valid(page: Path):
    for text in blocks(page, "python"):
        compile(text, page.name, "exec")
    for text in blocks(page, "yaml"):
        loaded = yaml.safe_load(text)
        settings = loaded["resources"]["session"]["config"] if "resources" in loaded else loaded
        try:
            load_settings(settings, environ={})
        except ConfigError as error:
            pytest.fail(f"{text}\n{error}")


@pytest.mark.scenario("S8")
def test_example_strategy_is_ten_lines_and_runs(tmp_path: Path):
    page = REPOSITORY / "docs" / "strategies.md"
    example = blocks(page, "python")[0]
    body = example[example.index("    def on_tick") :].splitlines()
    assert len([line for line in body if line.strip()]) <= 10
    (tmp_path / "mystrategy.py").write_text(example)
    shutil.copytree(REPOSITORY / "run_configs", tmp_path / "run_configs")
    (line,) = [line for text in blocks(page, "console") for line in text.splitlines() if "mystrategy:" in line]
    program, *arguments = shlex.split(line.removeprefix("$ ").removeprefix("PYTHONPATH=. "))
    assert Path(program).name == "hybrid-platform"
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_platform.cli", *arguments],
        cwd=tmp_path,
        env=child_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    artifacts = Artifacts(tmp_path / "data")
    signals = artifacts.rows("SELECT DISTINCT reason FROM signals")
    assert signals == [{"reason": "THREE_IN_A_ROW"}]
    assert artifacts.evidence("session")["strategy"]["name"] == "mystrategy:ThreeInARow"


def test_readme_states_reference_run_and_exit_codes():
    text = " ".join((REPOSITORY / "README.md").read_text().split())
    assert "61 ticks, 6 signals, 6 shadow orders, 6 trades" in text
    assert "0 complete, 1 crash, 10 network, 11 parse, 12 config, 13 overload" in text
    for way in ("-m hybrid_platform.definitions", "DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME", "dg launch --job shadow_run"):
        assert way in text, "three ways to launch"
