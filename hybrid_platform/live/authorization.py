"""Arming tokens: an operator's signed word that these bundles may trade on this account, once (G1, S14).

in: what an operator arms, and their key · out: an envelope, and back the token in it. A token that was
used leaves a mark below ``control/spent``; whoever copies the token elsewhere has one for another
directory, which the gate refuses.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from typing import NamedTuple

import msgspec

from hybrid_platform.domain.errors import EvidenceError, PlatformError
from hybrid_platform.evidence.dsse import open_envelope, sign, trusted_payload
from hybrid_platform.evidence.files import parse_json
from hybrid_platform.evidence.keys import Signer, TrustedKeys
from hybrid_platform.security.paths import DataDir

ARMING_TYPE = "application/vnd.hybrid-platform.arming+json"
_NONCE = re.compile(r"[0-9a-f]{32}")


class Arming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator signs."""

    schema: int = 1
    nonce: str
    bundles: tuple[str, ...]
    """Digests of the bundles that it rests on, sorted."""
    account: str
    max_notional_usd: Decimal
    """Beyond it the settings' ``risk.max_exposure_usd`` must not go."""
    data_dir: str
    """The absolute data directory in which it may be used."""
    issued_ns: int
    expires_ns: int
    """Wall clock."""


class Armed(NamedTuple):
    """A token whose signature is good."""

    arming: Arming
    keyid: str
    operator: str
    """File name of the operator's pinned key."""


def new_nonce() -> str:
    """Return 128 random bits."""
    return os.urandom(16).hex()


def sign_arming(arming: Arming, signer: Signer) -> bytes:
    """Return the token."""
    return sign(ARMING_TYPE, msgspec.json.encode(arming, order="sorted"), signer)


def read_arming(content: bytes, operators: TrustedKeys) -> Armed:
    """Return the token in an envelope; raise EvidenceError where no pinned operator signed it, or it is none."""
    opened = trusted_payload(open_envelope(content, "arming token"), ARMING_TYPE, operators)
    arming: Arming = parse_json(opened.payload, "arming token", Arming)
    if arming.schema != 1 or not _NONCE.fullmatch(arming.nonce) or not arming.max_notional_usd.is_finite():
        raise EvidenceError("arming token: expected schema 1, a nonce and a finite notional, got otherwise")
    return Armed(arming, opened.keyid, opened.key_name)


def is_spent(data_dir: DataDir, arming: Arming) -> bool:
    """Return whether a token was used."""
    return data_dir.resolve(_mark(arming)).exists()


def spend(data_dir: DataDir, arming: Arming) -> None:
    """Use a token up; raise EvidenceError where somebody did so before, also at this same moment."""
    try:
        descriptor = data_dir.open(_mark(arming), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except PlatformError as error:
        raise EvidenceError(f"arming token {arming.nonce[:8]}…: expected one not used before, was: {error}") from None
    os.fsync(descriptor)
    os.close(descriptor)


def _mark(arming: Arming) -> str:
    return f"control/spent/{arming.nonce}"
