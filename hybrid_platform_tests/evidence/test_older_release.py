"""A bundle that an earlier release sealed: it still verifies, and its records and digests still mean the same.

`releases/bundle-schema-1.tar.gz` holds a PAPER session's evidence (without its report) and the public key that signed
it. A later change of a signed format adds another archive here; it never replaces this one.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.domain.text import deterministic_json
from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.files import encode_record, read_json
from hybrid_platform.evidence.keys import load_trusted_keys
from hybrid_platform.evidence.records import parse_session_files
from hybrid_platform.evidence.verify import Expectations, VerifyCode, verify_bundle
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import NOT_TRADING

SEALED_SHA256 = "728c578799300236f37c0b4338544e28ab147946c95738d5bc5bc87c6eaf8a7b"
ARCHIVE = Path(__file__).parent / "releases" / "bundle-schema-1.tar.gz"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The unpacked bundle's directory; the pinned keys lie in ``tmp_path / "keys"``."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return next((tmp_path / "evidence").iterdir())


@pytest.mark.scenario("G5")
def test_an_older_bundle_verifies(bundle, tmp_path):
    """Every check passes, the comparison of the signed predicate with the rebuilt one included."""
    result = verify_bundle(bundle, load_trusted_keys(tmp_path / "keys"), Expectations(now_ns=0))
    assert [check for check in result.checks if not check.passed] == []
    assert (result.code, result.sha256) == (VerifyCode.VALID, SEALED_SHA256)


@pytest.mark.scenario("G5")
def test_older_records_keep_their_keys(bundle):
    """Reading a record and writing it again gives every key and value of the older file; new keys may be added."""
    folder = DataDir(bundle)
    files = parse_session_files(lambda name: read_if_there(folder, name))
    assert files.refusal is None
    for record in files[:4]:
        written = read_json(folder, f"{record.kind}.json")
        again = folder.write_atomic("again.json", encode_record(record))
        rewritten = read_json(folder, again.name)
        assert _restrict(rewritten, written) == written


def _restrict(found: Any, to: Any) -> Any:
    """Return ``found`` with only the keys of ``to``, at every depth."""
    if isinstance(found, dict) and isinstance(to, dict):
        return {key: _restrict(found.get(key), to[key]) for key in to}
    if isinstance(found, list) and isinstance(to, list) and len(found) == len(to):
        return [_restrict(*pair) for pair in zip(found, to, strict=True)]
    return found


def test_older_settings_keep_their_digests(bundle):
    """The settings in the older evidence hash to their signed digests, however many settings were added since."""
    folder = DataDir(bundle)
    preflight = parse_session_files(lambda name: read_if_there(folder, name)).preflight
    trading = {key: value for key, value in preflight.settings.items() if key not in NOT_TRADING}
    digests = [
        hashlib.sha256(deterministic_json(each, compact=True).encode()).hexdigest()
        for each in (preflight.settings, trading)
    ]
    assert digests == [preflight.config_sha256, preflight.trading_sha256]
    load_settings(preflight.settings, environ={})
