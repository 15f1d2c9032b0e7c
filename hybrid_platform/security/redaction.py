"""Sanitizing of foreign text: `redact` removes secrets, `to_printable` makes one line of visible characters.

In: text from settings, errors, venues and strategies. Out: text for logs, evidence, errors and the UI. Both functions
take time linear in the text: each pattern either consumes the text it examines or examines a bounded part of it. The
sections "Secrets" and "Symbols" of docs/bad-inputs.md list the cases.
"""

from __future__ import annotations

import re

MASK = "***"
MAX_TEXT = 1_000_000
"""Length in characters beyond which text is cut, with a note."""

_NAME = (
    r"(?:passwords?|passwd|passphrases?|pwd|secrets?|credentials?|(?:api|access|private|secret|signing|listen|auth)"
    r"[ _-]?key|access[_-]sign|token|jwt)(?-i:(?![a-z]))"
)
"""Names of secrets, such as ``PGPASSWORD``, ``clientSecret``, ``CB-ACCESS-KEY``; not ``tokenize``, ``secretary``."""
_IS = r"""\\?["']?\s{0,5}(?:=>|[:=])\s{0,5}"""
_QUOTED = r"""(?P<open>b?(?P<quote>\\?["']))(?P<body>(?:(?!(?P=quote))(?:\\.|.))*+)(?P=quote)?"""
_HEADER = r"(?<![a-z])(?:(?:proxy-)?authorization|(?:set-)?cookie)(?![a-z])"

_SECRET_NAME = re.compile(rf"{_NAME}|{_HEADER}|(?<![a-z])dsn(?![a-z])", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN (?!PUBLIC|CERT)[A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.DOTALL)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{5,}+(?:\.[\w-]*+){2,4}", re.ASCII)
_BEARER = re.compile(
    r"(?P<key>\bbearer(?:\s|%20|\+){1,5})(?:[\w.~+/=-]{16,}+|(?=\D{0,15}\d)[\w.~+/=-]++)", re.IGNORECASE | re.ASCII
)
_AFTER_NAME = re.compile(
    rf"""(?P<key>{_NAME}(?:\s{{1,3}}(?:is|was|of|with))?[\s:=]{{1,3}}["'`(]?)(?=[^\s\d]{{0,200}}\d)[\w+/=.-]{{16,}}+""",
    re.IGNORECASE | re.ASCII,
)
_QUERY = re.compile(r"""(?P<key>[?&;](?:key|auth|code|sig|signature|session|sid|hmac)=)[^&\s#"'<>]++""", re.IGNORECASE)
_HEADER_LINE = re.compile(rf"(?P<key>{_HEADER}{_IS})(?:{_QUOTED}|(?P<bare>[^\r\n]++))", re.IGNORECASE | re.DOTALL)
_KEY_VALUE = re.compile(
    rf"(?P<key>{_NAME}[\w-]{{0,30}}{_IS})(?:{_QUOTED}|(?P<bare>[^\s&]\S*+))", re.IGNORECASE | re.DOTALL
)
_KNOWN_SHAPE = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[opsur]_\w{20,}+|github_pat_\w{20,}+|glpat-[\w-]{20,}+|xox[abeoprs]-[\w-]{10,}+"
    r"|[rs]k_(?:live|test)_\w{10,}+|AKIA[0-9A-Z]{16})"
    r"|(?<=hooks\.slack\.com/services/)[\w/]++|(?<=/bot)\d{5,20}:[\w-]{20,}+",
    re.ASCII,
)
_NOT_SECRET = frozenset({"", MASK, "none", "null", "true", "false"})
_WORD = re.compile(r"\S++")
_AUTHORITY = re.compile(r"[^/?#]*+")
_WEB = ("http", "https", "ws", "wss")

_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for start, stop in ((0x180B, 0x1810), (0xFE00, 0xFE10), (0xE0100, 0xE01F0)) for code in range(start, stop)
}
"""Characters that are invisible although `str.isprintable` accepts them."""


def redact(text: str) -> str:
    """Return the text with ``***`` in place of secrets; text without secrets is returned unchanged.

    Secrets are passwords and tokens in URLs and DSNs, JWTs, PEM blocks that are not public, Authorization and Cookie
    headers, bearer tokens, values of secret-sounding names (``api_key=…``, ``"token": "…"``), long keys after such
    names, and tokens in the known formats of some vendors.
    """
    if len(text) > MAX_TEXT:
        note = f"… [{len(text)} characters, cut]"
        text = text[: MAX_TEXT - len(note)] + note
    text = _PEM.sub(MASK, text)
    if "://" in text:
        text = _WORD.sub(_mask_userinfo, text)
    text = _JWT.sub(MASK, text)
    text = _HEADER_LINE.sub(_mask_value, text)
    text = _KEY_VALUE.sub(_mask_value, text)
    for pattern in (_BEARER, _AFTER_NAME, _QUERY):
        text = pattern.sub(rf"\g<key>{MASK}", text)
    return _KNOWN_SHAPE.sub(MASK, text)


def is_secret_name(name: str) -> bool:
    """Return whether a field of this name holds a secret, regardless of its value."""
    return _SECRET_NAME.search(name[:200]) is not None


def to_printable(text: str, limit: int = 200) -> str:
    r"""Return one line of at most ``limit`` visible characters.

    Control, bidirectional, zero-width and unassigned characters, line ends, escape sequences and lone surrogates are
    escaped as ``\n``, ``\x1b``, ``\u202e``. Cut text ends in ``…``.
    """
    shown = text[: limit + 1]
    if not shown.isprintable() or not _INVISIBLE.isdisjoint(shown):
        shown = "".join(
            character
            if character.isprintable() and character not in _INVISIBLE
            else character.encode("unicode_escape").decode()
            for character in shown
        )
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def sanitize_text(text: str, limit: int = 200) -> str:
    """Return text for a log field or a sample: redacted, then as one printable line."""
    return to_printable(redact(text), limit)


def _mask_value(match: re.Match[str]) -> str:
    key, opening, bare = match["key"], match["open"], match["bare"]
    if opening is not None:
        return match[0] if match["body"].lower() in _NOT_SECRET else f"{key}{opening}{MASK}{match['quote']}"
    value = bare.rstrip("\"'`,;)]}> ")
    return match[0] if value.lower() in _NOT_SECRET else key + MASK + bare[len(value) :]


def _mask_userinfo(match: re.Match[str]) -> str:
    """Mask the password of each URL in a word, or the whole userinfo if it is a single token.

    A password may contain ``@``, ``/`` or ``://``, so it extends to the last ``@``.
    """
    parts = match[0].split("://")
    last = max((number for number, part in enumerate(parts) if "@" in part), default=0)
    for number in range(1, last + 1):
        here = parts[number]
        authority = _AUTHORITY.match(here)[0]  # type: ignore[index]
        user, colon, after = authority.partition(":")
        is_port = "@" not in authority and after[:1].isdigit() and parts[number - 1].lower().endswith(_WEB)
        if colon and "@" not in user and not is_port:
            host = "://".join(parts[number:]).rpartition("@")[2]
            return "://".join([*parts[:number], f"{user}:{MASK}@{host}"])
        if "@" in authority:
            parts[number] = f"{MASK}@" + here[authority.rindex("@") + 1 :]
    return "://".join(parts)
