"""Keys are created once with mode 0600; a key that others may read, or that is not a key, is refused."""

from __future__ import annotations

import base64
import pickle
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hybrid_platform.domain.errors import ConfigError, ExitCode
from hybrid_platform.evidence.dsse import pae, parse_envelope, sign, verified_payload
from hybrid_platform.evidence.keys import (
    check_signing_key,
    create_key,
    load_signer,
    load_signing_key,
    load_trusted_keys,
)
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.gates import KeySettings
from hybrid_platform_tests.support import REPOSITORY, child_environment

OWN = KeySettings()


def test_the_own_key_is_created_once(tmp_path):
    data = DataDir(tmp_path / "data")
    check_signing_key(data, OWN)
    assert not (tmp_path / "data").exists(), "looking makes nothing"
    first = load_signing_key(data, OWN)
    assert load_signing_key(data, OWN).keyid == first.keyid
    key = tmp_path / "data/keys/signing.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert first.keyid in load_trusted_keys(key.parent).keys


def test_a_new_own_key_leaves_the_old_public_key_pinned(tmp_path):
    data = DataDir(tmp_path / "data")
    old = load_signing_key(data, OWN)
    (tmp_path / "data/keys/signing.pem").unlink()
    new = load_signing_key(data, OWN)
    assert set(load_trusted_keys(tmp_path / "data/keys").keys) == {old.keyid, new.keyid}


def test_processes_that_start_together_agree_on_one_key(tmp_path):
    code = (
        "import sys; from hybrid_platform.evidence.keys import *; from hybrid_platform.security.paths import DataDir\n"
        "sys.stdin.readline(); print(load_signing_key(DataDir(sys.argv[1]), KeySettings()).keyid)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(REPOSITORY),
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "key.pem"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"only its owner may use.*got {mode:04o}") as caught:
        load_signing_key(DataDir(tmp_path / "data"), KeySettings(signing_key=str(path)))
    assert caught.value.exit_code == ExitCode.CONFIG


def other_kind() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("content", [b"", b"not a key", other_kind()])
def test_other_content_than_an_ed25519_key_is_refused(tmp_path, content):
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="an Ed25519 private key"):
        load_signer(path, "keys.signing_key")


def test_a_key_that_is_missing_or_a_directory_is_refused(tmp_path):
    for path in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(ConfigError, match=r"keys\.signing_key"):
            check_signing_key(DataDir(tmp_path / "data"), KeySettings(signing_key=str(path)))


def test_a_key_pair_overwrites_nothing(tmp_path):
    create_key(tmp_path / "operator.pem")
    with pytest.raises(ConfigError, match="expected no file"):
        create_key(tmp_path / "operator.pem")
    (tmp_path / "operator.pem").unlink()
    with pytest.raises(ConfigError, match="expected no file"):
        create_key(tmp_path / "operator.pem")


def test_a_signing_key_stays_in_its_process(tmp_path):
    with pytest.raises(TypeError, match="stay in its process"):
        pickle.dumps(create_key(tmp_path / "key.pem"))


def test_pinned_keys_are_pem_or_openssh(tmp_path):
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    (tmp_path / "a.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    other = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "b.pub").write_bytes(other.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    foreign = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "c.pub").write_bytes(foreign.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "d.pub").write_bytes(b"x" * 20_000)
    (tmp_path / "e.pub").mkdir()
    trusted = load_trusted_keys(tmp_path)
    assert len(trusted.keys) == 2
    assert trusted.ignored == ("c.pub", "d.pub", "e.pub")


def test_an_envelope_is_dsse_as_others_read_it(tmp_path):
    """The pre-authentication encoding of the standard's own example, and a signature over it."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    signer = create_key(tmp_path / "key.pem")
    envelope = parse_envelope(sign("text/plain", b"hello", signer), "envelope")
    assert base64.b64decode(envelope.payload) == b"hello"
    opened = verified_payload(envelope, "text/plain", load_trusted_keys(tmp_path))
    assert (opened.payload, opened.keyid, opened.key_name) == (b"hello", signer.keyid, "key.pub")
