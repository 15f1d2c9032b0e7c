"""Attributes that every asset gets when the definitions are loaded."""

from __future__ import annotations

import dagster as dg
import pytest

from hybrid_platform.defs.shared.policy import ORIGIN_TAG, apply_policy, read_owners
from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.settings.loading import load_settings

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
EXTERNAL = dg.AssetSpec("outside")


@dg.asset
def inside() -> None:
    """An asset that is executed."""


def apply(**environ: str) -> dict[str, dg.AssetSpec]:
    applied = apply_policy(dg.Definitions(assets=[inside, EXTERNAL]), environ)
    return {spec.key.to_user_string(): spec for spec in applied.resolve_all_asset_specs()}


def test_owners_come_from_the_environment():
    specs = apply(HYBRID_PLATFORM_OWNERS=" team:trading, ops@example.com,")
    assert [list(spec.owners) for spec in specs.values()] == [["team:trading", "ops@example.com"]] * 2


def test_without_the_variable_nothing_has_an_owner():
    assert [list(spec.owners) for spec in apply().values()] == [[], []]


@pytest.mark.parametrize("value", ["trading", "team:", "ops@", "a b@example.com", "team:a;team:b"])
def test_a_malformed_owner_names_the_variable(value: str):
    with pytest.raises(ConfigError, match="HYBRID_PLATFORM_OWNERS: expected e-mail addresses or team:NAME"):
        read_owners({"HYBRID_PLATFORM_OWNERS": value})


def test_owners_are_not_a_setting_of_a_session():
    load_settings({}, environ={"HYBRID_PLATFORM_OWNERS": "team:trading"})


def test_only_executed_assets_have_a_code_version():
    specs = apply()
    assert specs["inside"].code_version and specs["outside"].code_version is None


def test_a_tag_tells_executed_from_reported_assets():
    origins = {name: spec.tags[ORIGIN_TAG] for name, spec in apply().items()}
    assert origins == {"inside": "executed", "outside": "reported"}
