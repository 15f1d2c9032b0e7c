"""docs/settings.md, generated from the classes of the settings; a test compares the file with them.

``python -m hybrid_platform.settings.reference docs/settings.md`` rewrites the page. Nothing imports this module.
"""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic.fields import FieldInfo

from hybrid_platform.settings.base import Section
from hybrid_platform.settings.descriptions import meanings_of
from hybrid_platform.settings.loading import OWNERS, SUPERVISED_RUN
from hybrid_platform.settings.session import DEFAULT_ISOLATION, SessionSettings

HEAD = """# Settings

All settings are one object, validated once, frozen, and hashed, for every way of launching. The layers are: defaults,
`HYBRID_PLATFORM_<KEY>__<KEY>` variables (values are YAML), the file or Dagster's run config, `--set key.path=value`.
A later layer wins. `mode` and `live_armed` are never taken from the environment. A wrong setting is reported in one
line (path, expected, got) with exit code 12, before anything starts or is written.

In a file for Dagster the keys are below `resources.session.config`; `hybrid-platform … --config FILE` reads the same
file, or the keys alone. Money, prices, and sizes may be given as integers, floats (their shortest form counts), or
text, and stay exact.

*This page is generated:* `python -m hybrid_platform.settings.reference docs/settings.md`.
"""


VARIABLES = f"""## Variables that are not settings

| variable | meaning |
| --- | --- |
| `{OWNERS}` | Owners of all assets in Dagster: e-mail addresses or `team:NAME`, separated by commas; read as \
the definitions are loaded. |
| `{SUPERVISED_RUN}` | Path of the run config that the supervisor keeps alive; default: `run_configs/supervised.yaml`. |
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, *_section("", SessionSettings, "The session"), VARIABLES]
    return "\n".join(parts).rstrip() + "\n"


def _section(path: str, model: type[Section], title: str) -> list[str]:
    rows, deeper, meanings = [], [], meanings_of(model)
    for name, info in model.model_fields.items():
        key = f"{path}.{name}" if path else name
        inner = _model_of(info.annotation)
        if inner is not None:
            deeper += _section(key, inner, f"`{key}`")
        if inner is None or _is_choice(info):
            rows.append(f"| `{key}` | {_shown(info)} | {_text(meanings.get(name, ''))} |")
    doc = _text((model.__doc__ or "").strip().partition("\n\n")[0])
    table = ["| key | default | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []
    return [f"## {title}", "", doc, "", *table, *deeper]


def _model_of(annotation: Any) -> type[Section] | None:
    """Return the settings class of an annotation, or of its items, if there is exactly one."""
    candidates = [annotation, *get_args(annotation)]
    candidates += [inner for each in get_args(annotation) for inner in get_args(each)]
    models = [each for each in candidates if isinstance(each, type) and issubclass(each, Section)]
    return models[0] if models else None


def _is_choice(info: FieldInfo) -> bool:
    return not isinstance(info.annotation, type)


def _shown(info: FieldInfo) -> str:
    if info.is_required():
        return "*required*"
    default = info.get_default(call_default_factory=True, validated_data={})
    if default == DEFAULT_ISOLATION and default in {"process", "thread"}:
        return "`process` on Linux x86-64 and arm64, otherwise `thread`"
    if default is None:
        return "null"
    if isinstance(default, Enum):
        default = default.value
    if isinstance(default, tuple):
        default = list(default)
    if isinstance(default, dict):
        default = "{" + ", ".join(f"{key}: {value}" for key, value in default.items()) + "}"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _text(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
