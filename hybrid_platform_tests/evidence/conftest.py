"""Fixture of the evidence tests: a copy of a real session's sealed bundle, for each test to break."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.evidence.bundle import ENVELOPE, MANIFEST
from hybrid_platform.evidence.dsse import sign
from hybrid_platform.evidence.files import encode_record
from hybrid_platform.evidence.keys import Signer, load_signer, load_trusted_keys
from hybrid_platform.evidence.statement import PAYLOAD_TYPE
from hybrid_platform.evidence.verify import Expectations, Verification, verify_bundle


class BundleCopy:
    """A copy of a sealed bundle, with the key that signed it."""

    def __init__(self, path: Path, keys: Path) -> None:
        self.path, self.keys = path, keys

    @property
    def signer(self) -> Signer:
        return load_signer(self.keys / "signing.pem", "key")

    def verify(self, **expected: Any) -> Verification:
        return verify_bundle(self.path, load_trusted_keys(self.keys), Expectations(time.time_ns(), **expected))

    @property
    def statement(self) -> dict[str, Any]:
        return json.loads((self.path / MANIFEST).read_text())

    def sign_again(self, payload: bytes, signer: Signer | None = None, kind: str = PAYLOAD_TYPE) -> None:
        """Replace the payload and sign it, as a holder of the key could."""
        (self.path / MANIFEST).write_bytes(payload)
        (self.path / ENVELOPE).write_bytes(sign(kind, payload, signer or self.signer))

    def change_statement(self, change: Callable[[dict[str, Any]], None], signer: Signer | None = None) -> None:
        statement = self.statement
        change(statement)
        self.sign_again(encode_record(statement), signer)

    def change_envelope(self, change: Callable[[dict[str, Any]], None]) -> None:
        envelope = json.loads((self.path / ENVELOPE).read_text())
        change(envelope)
        (self.path / ENVELOPE).write_text(json.dumps(envelope))

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text, f"{name} does not say {old}"
        (self.path / name).write_text(text.replace(old, new, 1))


@pytest.fixture
def bundle(session_of_evidence: Path, tmp_path: Path) -> BundleCopy:
    """A copy of that session's bundle."""
    sealed = next(path for path in (session_of_evidence / "evidence").iterdir() if path.name != "checks")
    shutil.copytree(sealed, tmp_path / sealed.name)
    return BundleCopy(tmp_path / sealed.name, session_of_evidence / "keys")
