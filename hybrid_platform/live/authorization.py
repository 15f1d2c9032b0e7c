"""Arming tokens: an operator's signed permission to trade on one account once, on the proof of these bundles (G1, S14).

in: an operator's authorization and key · out: the token, a signed envelope; and back the authorization in it.
A consumed token leaves a marker file below ``control/spent``. The token names its data directory, so that the gate
refuses a copy of it elsewhere.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from typing import NamedTuple

import msgspec

from hybrid_platform.domain.errors import EvidenceError, PlatformError
from hybrid_platform.evidence.dsse import parse_envelope, sign, verified_payload
from hybrid_platform.evidence.files import parse_json
from hybrid_platform.evidence.keys import Signer, TrustedKeys
from hybrid_platform.security.paths import DataDir

AUTHORIZATION_TYPE = "application/vnd.hybrid-platform.arming+json"
_NONCE = re.compile(r"[0-9a-f]{32}")


class LiveAuthorization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed content of an arming token."""

    schema: int = 1
    nonce: str
    bundles: tuple[str, ...]
    """Digests of the proof bundles, sorted."""
    account: str
    max_notional_usd: Decimal
    """Upper limit for the setting ``risk.max_exposure_usd``."""
    data_dir: str
    """Absolute path of the only data directory in which the token is valid."""
    issued_ns: int
    expires_ns: int
    """Wall clock."""


class SignedAuthorization(NamedTuple):
    """An authorization whose signature is valid."""

    authorization: LiveAuthorization
    keyid: str
    operator: str
    """File name of the operator's pinned key."""


def new_nonce() -> str:
    """Return 128 random bits, in hex."""
    return os.urandom(16).hex()


def sign_authorization(authorization: LiveAuthorization, signer: Signer) -> bytes:
    """Return the token."""
    return sign(AUTHORIZATION_TYPE, msgspec.json.encode(authorization, order="sorted"), signer)


def read_authorization(content: bytes, operators: TrustedKeys) -> SignedAuthorization:
    """Return the authorization in a token.

    Raises EvidenceError unless the token is well-formed and a pinned operator signed it.
    """
    opened = verified_payload(parse_envelope(content, "arming token"), AUTHORIZATION_TYPE, operators)
    found: LiveAuthorization = parse_json(opened.payload, "arming token", LiveAuthorization)
    if found.schema != 1 or not _NONCE.fullmatch(found.nonce) or not found.max_notional_usd.is_finite():
        raise EvidenceError(
            "arming token: expected schema 1, a nonce of 32 hex digits and a finite notional, "
            f"got schema {found.schema}, nonce {found.nonce!r:.40}, notional {found.max_notional_usd}"
        )
    return SignedAuthorization(found, opened.keyid, opened.key_name)


def is_consumed(data_dir: DataDir, authorization: LiveAuthorization) -> bool:
    """Return whether the token was used before."""
    return data_dir.resolve(_marker_name(authorization)).exists()


def consume(data_dir: DataDir, authorization: LiveAuthorization) -> None:
    """Mark the token as used.

    Raises EvidenceError if it was used before, including by another process at the same moment.
    """
    try:
        descriptor = data_dir.open(_marker_name(authorization), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except PlatformError as error:
        raise EvidenceError(
            f"arming token {authorization.nonce[:8]}…: expected one not used before, got: {error}"
        ) from None
    os.fsync(descriptor)
    os.close(descriptor)


def _marker_name(authorization: LiveAuthorization) -> str:
    return f"control/spent/{authorization.nonce}"
