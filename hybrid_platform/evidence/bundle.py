"""Sealing of a session's evidence: the SHA-256 of every file and a summary of the records, under one signature (G5).

in: the complete evidence directory · out: ``manifest.json``, the in-toto Statement in readable form, and
``bundle.dsse.json``, the same bytes in a signed envelope. Sealing comes last: nothing is written to the directory
afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hybrid_platform.domain.clocks import Clock, iso_utc
from hybrid_platform.domain.errors import EvidenceError
from hybrid_platform.evidence.chain import EVENTS, ChainHead, genesis, walk_chain
from hybrid_platform.evidence.dsse import sign
from hybrid_platform.evidence.files import sha256_bytes, sha256_file
from hybrid_platform.evidence.keys import Signer
from hybrid_platform.evidence.predicate import PREDICATE_TYPE, build_predicate
from hybrid_platform.evidence.records import parse_session_files
from hybrid_platform.evidence.statement import PAYLOAD_TYPE, encode_statement
from hybrid_platform.security.paths import DataDir

MANIFEST, ENVELOPE = "manifest.json", "bundle.dsse.json"
MAX_FILES = 1_000


class SealedBundle(NamedTuple):
    """A sealed bundle."""

    path: Path
    """The envelope."""
    sha256: str
    """Digest of the bundle, that is of the manifest, whose bytes are signed."""
    keyid: str
    chain: ChainHead


def seal(data_dir: DataDir, session_id: str, signer: Signer, clock: Clock) -> SealedBundle:
    """Write manifest and envelope of a session; raise EvidenceError when its evidence cannot be signed."""
    folder = DataDir(data_dir.resolve(f"evidence/{session_id}"))
    chain = read_chain(folder, session_id)
    predicate = build_predicate(parse_session_files(lambda name: read_if_there(folder, name)), chain)
    predicate["sealed"] = {"wall": iso_utc(clock.wall_ns()), "monotonic_ns": clock.monotonic_ns()}
    digests = {name: sha256_file(folder, name) for name in inventory(folder)}
    payload = encode_statement(digests, PREDICATE_TYPE, predicate)
    folder.write_atomic(MANIFEST, payload)
    path = folder.write_atomic(ENVELOPE, sign(PAYLOAD_TYPE, payload, signer))
    return SealedBundle(path, sha256_bytes(payload), signer.keyid, chain)


def is_sealed(data_dir: DataDir, session_id: str) -> bool:
    """Return whether a session's evidence is sealed and must not be written to any more."""
    return data_dir.resolve(f"evidence/{session_id}/{ENVELOPE}").exists()


def inventory(folder: DataDir) -> list[str]:
    """Return the sorted names of all files in a bundle except manifest and envelope.

    Raises EvidenceError for links and for anything else that is neither a plain file nor a directory.
    """
    names: list[str] = []
    for where, folders, files in os.walk(folder.root, followlinks=False):
        for name in (*folders, *files):
            path = Path(where, name)
            inner = path.relative_to(folder.root).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise EvidenceError(f"{inner[:200]!r}: expected a plain file, got a link or a special file")
            if path.is_file() and inner not in {MANIFEST, ENVELOPE}:
                names.append(inner)
        if len(names) > MAX_FILES:
            raise EvidenceError(f"expected at most {MAX_FILES} files in a bundle, got more")
    return sorted(names)


def read_if_there(folder: DataDir, name: str) -> bytes | None:
    """Return the content of a file, or None if the file does not exist."""
    try:
        return folder.read_bytes(name)
    except FileNotFoundError:
        return None


def read_chain(folder: DataDir, session_id: str) -> ChainHead:
    """Follow the chain in a bundle and return its head; raise EvidenceError when it is broken."""
    try:
        descriptor = folder.open(EVENTS, os.O_RDONLY)
    except FileNotFoundError:
        return ChainHead(0, genesis(session_id))
    with os.fdopen(descriptor, "rb") as lines:
        return walk_chain(lines, session_id)
