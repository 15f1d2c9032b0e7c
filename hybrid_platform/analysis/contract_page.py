"""Tables of ids in docs/contract.md, generated from the statements and from the code and tests that cite them.

``python -m hybrid_platform.analysis.contract_page docs/contract.md`` rewrites them. Nothing imports this module; a test
compares the page with its result.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

from hybrid_platform.domain.contract import GATES, INVARIANTS, PROHIBITIONS, SCENARIOS
from hybrid_platform.host.system import package_root

BEGIN, END = "<!-- ids:begin -->", "<!-- ids:end -->"
PACKAGE, TESTS = "hybrid_platform", "hybrid_platform_tests"
SECTIONS = {
    "Scenarios": SCENARIOS,
    "Invariants, each with property tests": INVARIANTS,
    "Prohibitions": PROHIBITIONS,
    "Gates": GATES,
}
_CITED = re.compile(r"\b[SILG]\d{1,2}\b")


def update(page: str, root: Path) -> str:
    """Return the page with its tables regenerated from the checkout at ``root``.

    Raises ValueError for a page without the two marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected {BEGIN} and {END}, got a page without them")
    return f"{head}{BEGIN}\n\n{_tables(root)}\n{END}{tail}"


def _tables(root: Path) -> str:
    enforced = _find_citing(root / PACKAGE, _cited_in)
    proved = _find_citing(root / TESTS, _marked_in)
    lines = []
    for title, clauses in SECTIONS.items():
        lines += [f"### {title}", "", "| id | statement | enforced in | proved by |", "| --- | --- | --- | --- |"]
        for clause in clauses:
            statement = f"**{clause.statement}.** {clause.detail}".strip().replace("|", "\\|")
            code, tests = _shown(enforced.get(clause.id, [])), _shown(proved.get(clause.id, []))
            lines.append(f"| {clause.id} | {statement} | {code} | {tests} |")
        lines.append("")
    return "\n".join(lines)


def _find_citing(folder: Path, ids_in: Callable[[str], Iterator[str]]) -> dict[str, list[str]]:
    """Return, for each id, the files below a folder that cite it, as paths within the folder."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        for contract_id in sorted(set(ids_in(path.read_text(encoding="utf-8")))):
            found.setdefault(contract_id, []).append(str(path.relative_to(folder)))
    return found


def _cited_in(source: str) -> Iterator[str]:
    """Yield the ids in comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _CITED.findall(token.string)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _CITED.findall(ast.get_docstring(node) or "")


def _marked_in(source: str) -> Iterator[str]:
    """Yield the ids that a test module's ``scenario`` markers name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "scenario":
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)


def _shown(paths: list[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths) or "–"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(update(page.read_text(encoding="utf-8"), package_root()), encoding="utf-8")
