"""Attributes that every asset gets when the definitions are loaded: tags, code version, owners, code references.

in: the loaded definitions, the environment · out: the same definitions with those attributes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

import hybrid_platform
from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.evidence.code_digest import tree_sha256
from hybrid_platform.settings.loading import OWNERS

ORIGIN_TAG = "hybrid_platform/origin"
"""``executed``: made by a run of Dagster; ``reported``: venues, feeds, and tables, which are reported to Dagster."""
_OWNER = re.compile(r"team:[A-Za-z0-9_.-]{1,100}|[^@\s,]{1,100}@[^@\s,]{1,100}\.[A-Za-z]{2,63}")


def apply_policy(loaded: dg.Definitions, environ: Mapping[str, str]) -> dg.Definitions:
    """Return the definitions with the attributes of the policy.

    The code version is the digest of the package. The UI therefore marks evidence of older code as stale. Raises
    ConfigError for owners that are neither an e-mail address nor a team.
    """
    executable = [each for each in loaded.assets or () if isinstance(each, dg.AssetsDefinition) and each.is_executable]
    references = _find_code_references(executable)
    code_version = tree_sha256(Path(hybrid_platform.__file__).parent)
    owners = read_owners(environ)

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        is_executed = spec.key in references
        spec = spec.merge_attributes(tags={ORIGIN_TAG: "executed" if is_executed else "reported"})
        if is_executed:
            spec = spec.replace_attributes(code_version=code_version).merge_attributes(metadata=references[spec.key])
        return spec.replace_attributes(owners=owners) if owners else spec

    return loaded.map_asset_specs(func=apply)


def read_owners(environ: Mapping[str, str]) -> Sequence[str]:
    """Return the owners that the variable ``HYBRID_PLATFORM_OWNERS`` names; raise ConfigError if it is malformed."""
    owners = [owner.strip() for owner in environ.get(OWNERS, "").split(",") if owner.strip()]
    for owner in owners:
        if not _OWNER.fullmatch(owner):
            raise ConfigError([Fault(OWNERS, "e-mail addresses or team:NAME, separated by commas", repr(owner))])
    return owners


def _find_code_references(assets: Sequence[dg.AssetsDefinition]) -> dict[dg.AssetKey, Mapping[str, Any]]:
    referenced = dg.with_source_code_references(list(assets))
    return {
        spec.key: spec.metadata for each in referenced if isinstance(each, dg.AssetsDefinition) for spec in each.specs
    }
