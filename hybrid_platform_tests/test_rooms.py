"""The packages of the project: no cycle at any level, and a layer for every one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import pytest

from hybrid_platform_tests.rooms import (
    PACKAGE,
    REPOSITORY,
    children_graph,
    draw,
    find_cycles,
    packages,
    read_layers,
    reduce_graph,
)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE)


def test_no_cycle_at_any_level(graph: grimp.ImportGraph):
    assert list(find_cycles(graph)) == []


def test_every_room_stands_in_a_layer(graph: grimp.ImportGraph):
    stated = {f"{PACKAGE}.{name}" for layer in read_layers() for name in layer}
    assert stated == graph.find_children(PACKAGE)


def test_every_package_has_a_contract_of_its_own(graph: grimp.ImportGraph):
    """Packages with several modules state their layers, or that their modules are independent of each other."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    stated = {package for each in contracts for package in each.get("containers", ())}
    stated |= {module.removesuffix(".*") for each in contracts for module in each.get("modules", ())}
    wanted = {package for package in packages(graph) if len(graph.find_children(package)) > 1}
    assert wanted - stated - {f"{PACKAGE}.storage.migrations.versions"} == set()


def test_reduced_graph_keeps_what_does_not_follow():
    assert reduce_graph({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_drawing_shows_every_room(graph: grimp.ImportGraph, tmp_path: Path):
    draw(graph, tmp_path / "rooms.svg")
    text = (tmp_path / "rooms.svg").read_text()
    assert text.count('id="text_') >= len(children_graph(graph, PACKAGE))
