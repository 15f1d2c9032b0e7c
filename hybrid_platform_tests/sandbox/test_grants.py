"""Tests of the granted files: private files are never among them, in any layout of directories (I1)."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hybrid_platform
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.sandbox.grants import build_grants


def covers(grants, path: Path) -> bool:
    return any(path.resolve().is_relative_to(Path(granted).resolve()) for granted in grants.read)


def test_only_python_the_platform_and_the_strategy_are_readable(tmp_path):
    strategy = tmp_path / "mine.py"
    strategy.touch()
    (tmp_path / "notes.txt").touch()
    grants = build_grants([strategy])
    for path in (Path(sysconfig.get_path("stdlib")), Path(hybrid_platform.__file__), strategy):
        assert covers(grants, path)
    assert not covers(grants, tmp_path / "notes.txt")
    assert not covers(grants, Path("/etc/passwd"))
    assert not covers(grants, Path.home() / ".ssh")
    assert grants.write == ()
    assert grants.listing == (str(tmp_path.resolve()),)


@pytest.mark.scenario("I1")
def test_private_paths_inside_code_are_excluded(tmp_path):
    for name in ("data/keys/signing.key", "data/bot.db", "pack/module.py", "top.py", ".env", "sub/deep/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "sneaky").symlink_to(tmp_path / "data")
    grants = build_grants([tmp_path], private=[tmp_path / "data"])
    for name in ("pack/module.py", "top.py", "sub/deep/x.py"):
        assert covers(grants, tmp_path / name)
    for name in ("data/keys/signing.key", "data/bot.db", ".env", "sneaky/bot.db"):
        assert not covers(grants, tmp_path / name)


@pytest.mark.scenario("I1")
@pytest.mark.parametrize("inside", ["", "keys", "deep/er"])
def test_code_inside_a_private_directory_is_refused(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    with pytest.raises(ConfigError, match="stays closed"):
        build_grants([tmp_path / inside], private=[tmp_path])
    with pytest.raises(ConfigError, match="stays closed"):
        build_grants([], private=[tmp_path], write=[tmp_path / inside])


@pytest.mark.scenario("I1")
@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=6), st.data())
def test_no_grant_covers_a_private_file(tmp_path_factory, branches, data):
    root = tmp_path_factory.mktemp("tree")
    folders = [root.joinpath(*branch) for branch in branches]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").touch()
    private = data.draw(st.sampled_from(folders))
    code = data.draw(st.sampled_from([root, *folders]))
    try:
        grants = build_grants([code], private=[private])
    except ConfigError:
        assert code.is_relative_to(private)
        return
    assert not covers(grants, private / "file")
    for folder in folders:
        if folder.is_relative_to(code) and not folder.is_relative_to(private):
            assert covers(grants, folder / "file")
