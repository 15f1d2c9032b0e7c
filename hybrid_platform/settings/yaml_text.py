"""YAML parser for settings: plain data only, each key once."""

from __future__ import annotations

from typing import Any

import yaml

YAML_ERRORS = (yaml.YAMLError, RecursionError, ValueError)
"""Errors that invalid YAML text raises."""


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text. Raises one of `YAML_ERRORS`."""
    return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML loader that refuses repeated keys instead of keeping the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict) or key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"expected each key once, got {key!r} again", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
