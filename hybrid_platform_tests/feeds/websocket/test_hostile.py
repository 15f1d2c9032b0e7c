"""Hostile venues: every attack is bounded, rejected and counted, and the feed continues (S5)."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hybrid_platform.domain.errors import ConfigError, NetworkError
from hybrid_platform.testing import (
    Bomb,
    Fragments,
    Garbage,
    Huge,
    LocalVenue,
    NotUtf8,
    PingFlood,
    Refuse,
    Send,
    Slow,
    binance_trades,
)
from hybrid_platform_tests.feeds.websocket.live import LiveRun, binance


@pytest.mark.scenario("S5")
def test_garbage_is_rejected_and_counted():
    """The trades around it are kept."""
    with LocalVenue(islice(binance_trades(), 20), [[Send(10), Garbage(), Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(20)
    assert run.ids == list(range(1, 21))
    assert run.stats.connects == 1
    assert run.rejected == {"bad_json": 3, "bad_message": 3, "bad_price": 3, "bad_time": 1, "binary_frame": 1}
    assert {sample.cause for sample in run.samples} == set(run.rejected)
    assert run.received == 20 + 11


@pytest.mark.scenario("S5")
def test_a_frame_that_is_not_utf8_ends_the_connection():
    """The feed reconnects."""
    with LocalVenue(islice(binance_trades(), 20), [[Send(10), NotUtf8()], [Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(20)
    assert run.ids == list(range(1, 21))
    assert run.rejected == {"bad_utf8": 1}
    assert run.stats.disconnects == {"bad_utf8": 1}
    [sample] = run.samples
    assert sample.sample.startswith('{"secret": ***')


@pytest.mark.scenario("S5")
@pytest.mark.parametrize(
    ("step", "compression"),
    [(Huge(200_000), False), (Bomb(50_000_000), True), (Fragments(6_000), False)],
    ids=["huge", "compression bomb", "endless fragments"],
)
def test_an_oversized_frame_is_rejected(step, compression):
    """The feed continues."""
    with LocalVenue(islice(binance_trades(), 20), [[Send(10), step], [Send()]], compression=compression) as venue:
        run = LiveRun(binance(venue.url), max_frame_bytes=100_000, compression=compression).until_ticks(20)
    assert run.ids == list(range(1, 21))
    assert run.rejected == {"oversized_frame": 1}
    assert run.stats.disconnects == {"oversized_frame": 1}


def test_a_large_frame_within_the_limit_is_read():
    with LocalVenue(islice(binance_trades(), 2), [[Huge(200_000), Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(2)
    assert run.ignored == {"unknown": 1}
    assert run.stats.connects == 1


@pytest.mark.scenario("S5")
def test_a_flood_of_pings_is_answered():
    with LocalVenue(islice(binance_trades(), 20), [[PingFlood(3_000), Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(20)
    assert run.stats.connects == 1


@pytest.mark.scenario("S5")
def test_slow_fragments_form_whole_frames():
    with LocalVenue(islice(binance_trades(), 6), [[Slow(3, seconds=0.1), Send()]]) as venue:
        run = LiveRun(binance(venue.url)).until_ticks(6)
    assert run.ids == list(range(1, 7))


@pytest.mark.scenario("S4", "S5")
def test_an_endless_frame_is_a_stall():
    with LocalVenue(islice(binance_trades(), 6), [[Slow(1, seconds=3600, pieces=60)], [Send()]]) as venue:
        run = LiveRun(binance(venue.url), stall_seconds=0.4).until_ticks(5)
    assert run.stats.disconnects["stall"] >= 1
    assert 1 not in run.ids


def certificate(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate's file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{host}.pem", folder / f"{host}.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


def test_an_untrusted_certificate_is_refused(tmp_path):
    _, context = certificate(tmp_path, "localhost")
    with LocalVenue(islice(binance_trades(), 5), tls=context) as venue:
        run = LiveRun(binance(venue.url), max_failures=2).until(lambda _: False)
    assert isinstance(run.error, NetworkError)
    assert run.stats.disconnects == {"tls": 2}
    assert "certificate" in str(run.error).lower()
    assert not run.ticks


def test_a_certificate_of_another_host_is_refused(tmp_path):
    public, context = certificate(tmp_path, "elsewhere.example")
    with LocalVenue(islice(binance_trades(), 5), tls=context) as venue:
        run = LiveRun(binance(venue.url), max_failures=1, ca_file=str(public)).until(lambda _: False)
    assert run.stats.disconnects == {"tls": 1}


def test_a_private_authority_can_be_trusted(tmp_path):
    public, context = certificate(tmp_path, "localhost")
    with LocalVenue(islice(binance_trades(), 5), tls=context) as venue:
        run = LiveRun(binance(venue.url), ca_file=str(public)).until_ticks(5)
    assert run.ids == [1, 2, 3, 4, 5]


def test_an_invalid_authority_file_is_reported(tmp_path):
    (tmp_path / "x.pem").write_text("not a certificate")
    for name in ("x.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=f"ca_file.*{name}"):
            LiveRun(binance("wss://venue.example/"), ca_file=str(tmp_path / name))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status):
    with (
        LocalVenue(islice(binance_trades(), 5)) as elsewhere,
        LocalVenue([], [[Refuse(status, location=elsewhere.url)]]) as venue,
    ):
        run = LiveRun(binance(venue.url), max_failures=1).until(lambda _: False)
        assert elsewhere.attempts == 0
    assert run.stats.disconnects == {"refused": 1}


def test_a_url_with_a_token_is_logged_without_it():
    with LocalVenue(islice(binance_trades(), 5)) as venue:
        run = LiveRun(binance(f"{venue.url}/ws/{'hunter2' * 8}?token=hunter2")).until_ticks(5)
    assert "hunter2" not in repr(run.log.entries)
    assert run.log.of("feed connected (S2)")[0]["where"] == venue.url + "/ws/***"
