"""DSSE envelopes: a payload, its type, and one Ed25519 signature over both.

in: a payload and a key · out: an envelope as JSON; and back, the payload, after its signature was verified with a
pinned key. The payload is not parsed before its signature is verified.
"""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import msgspec

from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.files import parse_json
from hybrid_platform.evidence.keys import Signer, TrustedKeys

MAX_ENVELOPE_BYTES = 16 * 1024 * 1024


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature in base64, with the id of its key."""

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"payload_type": "payloadType"}):
    """A DSSE v1 envelope; this platform writes and accepts exactly one signature."""

    payload: str
    payload_type: str
    signatures: tuple[Signature, ...]


class VerifiedPayload(NamedTuple):
    """A payload whose signature was verified."""

    payload: bytes
    keyid: str
    key_name: str
    """File name of the pinned key."""


class UntrustedError(EvidenceError):
    """An envelope without a valid signature by a pinned key."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the DSSE pre-authentication encoding, the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, signer: Signer) -> bytes:
    """Return a signed envelope as JSON."""
    signature = base64.b64encode(signer.sign(pae(payload_type, payload))).decode()
    envelope = Envelope(base64.b64encode(payload).decode(), payload_type, (Signature(signer.keyid, signature),))
    return msgspec.json.format(msgspec.json.encode(envelope, order="sorted"), indent=2) + b"\n"


def parse_envelope(content: bytes, name: str) -> Envelope:
    """Return an unverified envelope; raise UntrustedError if it is malformed or has other than one signature."""
    if len(content) > MAX_ENVELOPE_BYTES:
        raise UntrustedError(f"{name}: expected at most {MAX_ENVELOPE_BYTES} bytes, got {len(content)}")
    try:
        envelope: Envelope = parse_json(content, name, Envelope)
    except EvidenceError as error:
        raise UntrustedError(str(error)) from None
    if len(envelope.signatures) != 1:
        raise UntrustedError(f"{name}: expected one signature, got {len(envelope.signatures)}")
    return envelope


def verified_payload(envelope: Envelope, payload_type: str, trusted: TrustedKeys) -> VerifiedPayload:
    """Return the payload if a pinned key signed it with this type; raise UntrustedError otherwise."""
    signature = envelope.signatures[0]
    payload = _decode_base64(envelope.payload, "payload")
    name = trusted.find_signer(pae(payload_type, payload), _decode_base64(signature.sig, "signature"), signature.keyid)
    if envelope.payload_type != payload_type:
        raise UntrustedError(f"expected {payload_type}, got {envelope.payload_type[:80]!r}")
    if name is None:
        pinned = f"{len(trusted.keys)} in {trusted.folder}"
        ignored = f"; not Ed25519 public keys: {', '.join(trusted.ignored)}" if trusted.ignored else ""
        raise UntrustedError(f"expected a signature by a pinned key ({pinned}{ignored}), got another signature")
    return VerifiedPayload(payload, signature.keyid, name)


def _decode_base64(text: str, what: str) -> bytes:
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UntrustedError(f"{what}: expected base64, got: {error}") from None
    if base64.b64encode(decoded).decode() != text:  # unused bits would allow several texts for one signature
        raise UntrustedError(f"{what}: expected canonical base64, got another form of it")
    return decoded
