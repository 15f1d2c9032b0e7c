"""Drawing of the packages and their imports, layer by layer; fails if a cycle exists at any level.

``python -m hybrid_platform_tests.rooms docs/images/rooms.svg`` (or ``make rooms``) rewrites the picture.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGE = "hybrid_platform"
REPOSITORY = Path(__file__).resolve().parents[1]


def read_layers() -> list[list[str]]:
    """Return the rooms of the top level, highest layer first, as `pyproject.toml` states them."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    stated = next(each for each in contracts if each.get("containers") == [PACKAGE])
    return [[name.strip(" ()") for name in layer.split("|")] for layer in stated["layers"]]


def children_graph(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """Return, for each direct child of a package, the siblings that it imports, its own children included."""
    children = sorted(graph.find_children(package))
    owner = {module: child for child in children for module in (child, *graph.find_descendants(child))}
    arrows: dict[str, set[str]] = {child: set() for child in children}
    for module, child in owner.items():
        for imported in graph.find_modules_directly_imported_by(module):
            target = owner.get(imported)
            if target is not None and target != child:
                arrows[child].add(target)
    return arrows


def packages(graph: grimp.ImportGraph) -> list[str]:
    """Return every package of the project, the top one first."""
    return sorted(module for module in graph.modules if graph.find_children(module))


def find_cycles(graph: grimp.ImportGraph) -> Iterator[tuple[str, list[str]]]:
    """Yield each package whose direct children import each other in a circle, with one such circle."""
    for package in packages(graph):
        try:
            TopologicalSorter(children_graph(graph, package)).prepare()
        except CycleError as error:
            yield package, error.args[1]


def reduce_graph(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows of an acyclic graph that do not follow from the others."""
    below: dict[str, set[str]] = {}
    for room in TopologicalSorter(arrows).static_order():
        below[room] = arrows[room].union(*(below[other] for other in arrows[room]))
    return {
        room: {other for other in imported if not any(other in below[via] for via in imported - {other})}
        for room, imported in arrows.items()
    }


def draw(graph: grimp.ImportGraph, path: Path) -> None:
    """Draw the rooms of the top level, one row per layer; imports that follow from others are left out."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = read_layers()
    places = {
        f"{PACKAGE}.{name}": ((column + 0.5) / len(row) + (0.0 if len(row) > 1 else 0.1 * (-1) ** number), -number)
        for number, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    figure = Figure(figsize=(11, 0.62 * len(rows)))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(-len(rows) + 0.4, 0.6))
    axes.axis("off")
    for room, imported in reduce_graph(children_graph(graph, PACKAGE)).items():
        for other in imported:
            start, end = places[room], places[other]
            style = {"arrowstyle": "-|>", "color": "0.6", "lw": 0.8, "shrinkA": 11, "shrinkB": 11}
            axes.annotate("", xy=end, xytext=start, arrowprops=style)
    for room, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.35", "fc": "#eef3fb", "ec": "#4a6fa5", "lw": 0.8}
        axes.text(x, y, room.removeprefix(f"{PACKAGE}."), ha="center", va="center", fontsize=9, bbox=box)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": PACKAGE}):  # the same bytes each time
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, bbox_inches="tight")


def main() -> int:
    """Print the imports between the rooms of every package, draw the top level, and return 1 if a cycle exists."""
    graph = grimp.build_graph(PACKAGE)
    for package in packages(graph):
        print(package)
        for child, imported in sorted(children_graph(graph, package).items()):
            names = ", ".join(sorted(each.rpartition(".")[2] for each in imported)) or "-"
            print(f"  {child.rpartition('.')[2]} -> {names}")
    cycles = list(find_cycles(graph))
    if not cycles:
        draw(graph, Path(sys.argv[1]))
    for package, circle in cycles:
        print(f"cycle in {package}: {' -> '.join(circle)}")
    print(f"{len(packages(graph))} packages, {len(cycles)} cycles")
    return 1 if cycles else 0


if __name__ == "__main__":
    sys.exit(main())
