"""Ed25519 keys: the platform's own signing key, and the pinned public keys that verification trusts.

in: a data directory, or paths from the settings or an operator · out: a `Signer`, or `TrustedKeys`. A private key is
read when it is needed; its file has mode 0600 and never lies below an evidence directory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_public_key,
)

from hybrid_platform.domain.errors import ConfigError, Fault, StorageError
from hybrid_platform.security.paths import DataDir, check_input_file, check_output_file
from hybrid_platform.settings.gates import KeySettings

OWN_KEY = "keys/signing.pem"
OPERATORS = "keys/operators"
MAX_KEY_BYTES = 16_384
MAX_KEYS = 1_000
_TRIES, _PAUSE_S = 100, 0.02
"""Wait for a key that another process is creating at the same moment."""
_END = b"-----END PRIVATE KEY-----\n"


class Signer:
    """A private key; ``keyid`` is the SHA-256 of its public key (DER), in hex."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.keyid = key_id(private.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message (64 bytes)."""
        return self._private.sign(message)

    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        return self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def __reduce__(self) -> str:
        raise TypeError("expected a signing key to stay in its process")


class TrustedKeys(NamedTuple):
    """Pinned public keys by key id."""

    folder: Path
    keys: dict[str, tuple[str, Ed25519PublicKey]]
    """Key id -> file name and key."""
    ignored: tuple[str, ...]
    """Names of files that are not Ed25519 public keys."""

    def find_signer(self, message: bytes, signature: bytes, keyid: str) -> str | None:
        """Return the name of the pinned key with this id if it made the signature, else None."""
        name, key = self.keys.get(keyid, ("", None))
        if key is None:
            return None
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return None
        return name


def key_id(public: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key: ``openssl pkey -pubin -in X.pub -outform DER | sha256sum``."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def load_signing_key(data_dir: DataDir, settings: KeySettings) -> Signer:
    """Return the key that signs this platform's bundles; the platform's own key is created on first use.

    Raises ConfigError if a configured key is missing, readable by others, or not an Ed25519 key.
    """
    if settings.signing_key is not None:
        return load_signer(settings.signing_key, "keys.signing_key")
    _create_own_key(data_dir)
    signer = load_signer(data_dir.resolve(OWN_KEY), OWN_KEY)
    public = f"keys/signing-{signer.keyid[:12]}.pub"
    if not data_dir.resolve(public).exists():
        data_dir.write_atomic(public, signer.public_pem())
    return signer


def check_signing_key(data_dir: DataDir, settings: KeySettings) -> None:
    """Raise ConfigError if `load_signing_key` would, without creating a key.

    Preflight calls this so that a session does not fail for its key when it ends.
    """
    if settings.signing_key is not None or data_dir.resolve(OWN_KEY).exists():
        load_signing_key(data_dir, settings)


def create_key(name: str | Path) -> Signer:
    """Create a key pair: ``name`` (mode 0600), and ``name`` with the suffix ``.pub``; neither file may exist."""
    private, public = (check_output_file(path, "key") for path in (name, Path(name).with_suffix(".pub")))
    for path in (private, public):
        if path.exists():
            raise ConfigError([Fault(str(path), "no file", "an existing file")])
    signer, pem = _new_key()
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    public.write_bytes(signer.public_pem())
    return signer


def load_signer(path: str | Path, setting: str, password: bytes | None = None) -> Signer:
    """Return the key in a PEM file that only its owner may read; raise ConfigError for any other file."""
    content = _read_private(check_input_file(path, setting), setting)
    try:
        private = load_pem_private_key(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError([Fault(setting, "an Ed25519 private key (PEM)", str(error).split(".")[0][:120])]) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError([Fault(setting, "an Ed25519 private key (PEM)", type(private).__name__)])
    return Signer(private)


def load_trusted_keys(folder: str | Path) -> TrustedKeys:
    """Return the Ed25519 keys in a directory's ``*.pub`` files (PEM or OpenSSH); raise ConfigError if it is missing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError([Fault("trusted keys", "a directory with *.pub files", repr(str(folder)))])
    keys: dict[str, tuple[str, Ed25519PublicKey]] = {}
    ignored = []
    for path in sorted(folder.glob("*.pub"))[:MAX_KEYS]:
        key = _read_public(path)
        if key is None:
            ignored.append(path.name)
        else:
            keys[key_id(key)] = (path.name, key)
    return TrustedKeys(folder, keys, tuple(ignored))


def _new_key() -> tuple[Signer, bytes]:
    private = Ed25519PrivateKey.generate()
    return Signer(private), private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _create_own_key(data_dir: DataDir) -> None:
    """Create the platform's own key unless it exists; wait if another process is creating it."""
    path = data_dir.resolve(OWN_KEY)
    try:
        descriptor = data_dir.open(OWN_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    except StorageError:
        if not path.exists():
            raise
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_new_key()[1])
            file.flush()
            os.fsync(file.fileno())
    for _ in range(_TRIES):
        if path.read_bytes().endswith(_END):
            return
        time.sleep(_PAUSE_S)


def _read_private(path: Path, setting: str) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            was = f"{stat.S_IMODE(mode):04o}"
            raise ConfigError([Fault(setting, "a key file that only its owner may use (0600)", was)])
        return file.read(MAX_KEY_BYTES)


def _read_public(path: Path) -> Ed25519PublicKey | None:
    try:
        content = path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_KEY_BYTES else b""
        load = load_ssh_public_key if content.startswith(b"ssh-") else load_pem_public_key
        key = load(content)
    except (OSError, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None
