"""Tests of `redact` and `to_printable` with secrets and symbols from docs/bad-inputs.md."""

from __future__ import annotations

import base64
import json
import string
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.security.redaction import MAX_TEXT, is_secret_name, redact, sanitize_text, to_printable

NAMES = [
    "password", "PGPASSWORD", "db_password", "passwd", "PWD", "secret", "client_secret", "clientSecret", "api_key",
    "apiKey", "API-KEY", "X-MBX-APIKEY", "CB-ACCESS-KEY", "CB-ACCESS-SIGN", "CB-ACCESS-PASSPHRASE", "access_token",
    "accessToken", "AUTH_TOKEN", "refresh_token", "private_key", "listenKey", "jwt", "credentials", "arming_token",
]  # fmt: skip
word = st.text(string.ascii_letters + string.digits, min_size=16, max_size=64)
"""Secrets as machines generate them."""
awkward = st.text(string.ascii_letters + string.digits + "!$%^*()-_+[]{};:,.?~|", min_size=16, max_size=40)
"""Secrets as people choose them."""


def _base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


HIDING_PLACES: dict[str, Callable[[str], str]] = {
    "dsn": lambda s: f"cannot connect to postgresql+psycopg2://bot:{s}@db.example:5432/bot?sslmode=require",
    "dsn, no host": lambda s: f"mysql://bot:{s}@/bot",
    "dsn in a setting": lambda s: f"database_url: expected a database, got 'postgresql://bot:{s}@h/db'",
    "url password": lambda s: f"GET https://user:{s}@api.example/v1?x=1 failed",
    "url userinfo": lambda s: f"https://{s}@git.example/repo.git",
    "url token": lambda s: f"wss://venue.example/ws?token={s}&streams=btcusdt@trade",
    "url signature": lambda s: f"https://venue.example/order?qty=1&signature={s}",
    "url key": lambda s: f"https://venue.example/order?key={s}",
    "webhook": lambda s: f"POST https://hooks.slack.com/services/T00000000/B00000000/{s} 200",
    "chat bot": lambda s: f"https://chat.example/bot123456789:{s}abcdefgh/send",
    "jwt": lambda s: f"token eyJhbGciOiJIUzI1NiJ9.{_base64url(json.dumps({'sub': s}))}.{s} was refused",
    "jwt alone": lambda s: f"eyJhbGciOiJIUzI1NiJ9.{s}.{s}",
    "pem": lambda s: f"-----BEGIN PRIVATE KEY-----\n{s}\n-----END PRIVATE KEY-----\n",
    "encrypted pem": lambda s: f"-----BEGIN ENCRYPTED PRIVATE KEY-----\\n{s}\\n-----END ENCRYPTED PRIVATE KEY-----",
    "half a pem": lambda s: f"-----BEGIN RSA PRIVATE KEY-----\n{s}",
    "bearer": lambda s: f"Bearer {s}",
    "bearer in a url": lambda s: f"/cb?h=Bearer%20{s}",
    "authorization": lambda s: f"Authorization: Bearer {s}\r\nHost: x",
    "basic": lambda s: f'{{"authorization": "Basic {s}", "n": 1}}',
    "digest": lambda s: f'Proxy-Authorization: Digest username="x", response="{s}"',
    "curl": lambda s: f"curl -H 'Authorization: Basic {s}' https://x",
    "cookie": lambda s: f"Set-Cookie: sid={s}; HttpOnly",
    "words": lambda s: f"the api key is {s}1 and that is that",
    "token word": lambda s: f"rejected token 7{s}",
    "github": lambda s: f"ghp_{s}{s}",
}  # fmt: skip
every_place = pytest.mark.parametrize("hide", HIDING_PLACES.values(), ids=HIDING_PLACES.keys())
HARMLESS = [
    "",
    "signal generated S27 BUY 0.1 SOL/USDC at 101.25, reason PERIODIC_TRIGGER",
    "PRAGMA verification journal_mode=wal synchronous=1",
    "token bucket: 3 of 10 tokens: 7 left; author: Bob, secretary: Eve, tokenize: yes",
    "bearer of bad news, a bearer certificates holder",
    "config_sha256=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "code_version c6d2bf2cdb748a054f1c9707f77455af306e1def, key=SOL/USDC, keys: 3",
    "sqlite:////srv/data/bot.db",
    "file:///home/x@y/trades.csv",
    "http://localhost:3000/runs?mail=a@b.example",
    "ws://127.0.0.1:8765/stream",
    "wss://stream.venue.example:9443/ws/btcusdt@trade",
    "postgresql://localhost:5432/bot",
    "https://[::1]:8501/x",
    "password=, secret: null, token=None, api_key: ***, password: ''",
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
    '=HYPERLINK("x") | `a` <img onerror=1> \'; DROP TABLE ticks',
    "unicode: é ж 漢 \u202e \ud800",
]


@every_place
@given(secret=word)
def test_no_secret_passes(hide: Callable[[str], str], secret: str) -> None:
    shown = redact(hide(secret))
    assert secret not in shown
    assert _base64url(secret) not in shown


@pytest.mark.parametrize("name", NAMES)
@given(secret=awkward)
def test_no_value_of_a_secret_name_passes(name: str, secret: str) -> None:
    forms = [
        f"{name}={secret}",
        f"{name}: {secret}",
        f"export {name.upper()}='{secret}'",
        f"{name} => {secret}",
        json.dumps({name: secret, "symbol": "SOL"}),
        json.dumps(json.dumps({name: secret})),
        repr({name: secret, "n": 1}),
        repr({name.encode(): secret.encode()}),
        f"Settings({name}='{secret} {secret}', n=1)",
        f"ValueError: {name} = {secret!r} is wrong",
    ]
    for form in forms:
        assert secret not in redact(form), form
        assert secret not in sanitize_text(form, 10_000)


@given(secret=awkward.filter(lambda s: "://" not in s), extra=st.sampled_from(["", "@", "/", "#", "p@ss/w:rd"]))
def test_a_dsn_password_with_special_characters_is_masked(secret: str, extra: str) -> None:
    for part in (f"x{secret}{extra}", f"{extra}x{secret}"):
        shown = redact(f"postgresql://bot:{part}@db.example/bot")
        assert shown == "postgresql://bot:***@db.example/bot"


@pytest.mark.parametrize("text", HARMLESS, ids=lambda text: ascii(text)[:30])
def test_harmless_text_is_unchanged(text: str) -> None:
    assert redact(text) == text


@given(
    st.lists(
        st.sampled_from(["BUY", "SELL", "tick", "seq=7", "SOL/USDC", "101.25", "…", "(S6:", "bounded)", "\n", "a@b"])
    )
)
def test_the_platforms_own_names_are_harmless(words: list[str]) -> None:
    assert redact(" ".join(words)) == " ".join(words)


FRAGMENTS = st.sampled_from(
    [
        "://", "@", ":", "=", '"', "'", "\\", "\\'", '\\"', "***", "b'", " ", "\n", "&", "?key=", "token",
        "password", "secret is ",
        "Authorization", "Bearer ", "eyJabcdef", ".", "-----BEGIN X-----", "-----END X-----", "http", "a", "1", "None",
        ",", ")", "abcdefghij0123456789", "ghp_", "/bot", "é", "\ud800", "cookie", "%20", "_", "-",
    ]
)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=25).map("".join) | st.text())
def test_redaction_is_idempotent(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@pytest.mark.parametrize(
    "piece",
    [
        "x://", "x://a:", "x://a:@", "http://a:1", "://@", "eyJabcdef", "eyJabcdef.", "-----BEGIN A",
        "-----BEGIN A-----", "token=", 'token="\\', "token", "token ", "secret_", "authorization:", "bearer ",
        "password:b'", "?key=", "ghp_", "/bot1", "a", "-", " ", "'", '"', "\\",
        "password\t\t\t\t", "token=***", "api ", "token:\\\"",
    ],
)  # fmt: skip
def test_the_time_is_linear_in_the_text(piece: str) -> None:
    text = (piece * (150_000 // len(piece)))[:150_000]
    began = time.process_time()
    redact(text)
    redact(text + "@")
    to_printable(text, 150_000)
    # A quadratic pattern would take minutes of CPU here; a linear one takes a fraction of a second.
    assert time.process_time() - began < 20


def test_overlong_text_is_cut_with_a_note() -> None:
    shown = redact("x" * (2 * MAX_TEXT))
    assert len(shown) == MAX_TEXT
    assert shown.endswith("… [2000000 characters, cut]")
    assert redact(shown) == shown


@pytest.mark.parametrize("name", [*NAMES, "Authorization", "set-cookie", "dsn", "token"])
def test_secret_names_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["tokens", "tick_count", "symbol", "author", "secretary", "keys", "signature", "order_id"]
)
def test_other_names_are_not_secret(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'; DROP TABLE ticks", "'; DROP TABLE ticks"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("line\r\n[health] PASS", r"line\r\n[health] PASS"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("BTC\u200b\u200d\ufeff\u00ad", r"BTC\u200b\u200d\ufeff\xad"),
        ("a\u3164b\ufe0f\U000e0041\U000e0101", r"a\u3164b\ufe0f\U000e0041\U000e0101"),
        ("\x00\x07\x7f\x9b31m", r"\x00\x07\x7f\x9b31m"),
        ("\ud800", r"\ud800"),
        ("ＢＴＣ é 漢", "ＢＴＣ é 漢"),
    ],
    ids=ascii,
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert to_printable(text) == shown


@given(st.text(st.characters()), st.integers(1, 50))
def test_printable_text_is_one_bounded_line(text: str, limit: int) -> None:
    shown = to_printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    if text.isprintable() and len(text) <= limit and "\u3164" not in text:
        assert shown == text or any(not c.isascii() for c in text)


def test_a_symbol_of_ten_kilobytes_is_cut_visibly() -> None:
    assert to_printable("A" * 10_000) == "A" * 199 + "…"


def test_a_secret_is_taken_out_before_the_text_is_cut() -> None:
    assert "hunter2" not in sanitize_text("x" * 180 + " password=hunter2hunter2hunter2")
