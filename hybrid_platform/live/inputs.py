"""One request to trade live, and its evidence: each piece is read, and judged, when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.domain.records import CodeIdentity, PressureGate
from hybrid_platform.evidence.keys import OPERATORS, TrustedKeys, trusted_keys
from hybrid_platform.evidence.verify import Expected, Verification, VerifyCode, verify_bundle
from hybrid_platform.live.authorization import Armed, read_arming
from hybrid_platform.security.paths import DataDir, check_input_file
from hybrid_platform.settings.evidence import LiveSettings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.adapters.live import METHODS, LiveAdapter

ADAPTERS = "hybrid_platform.live_adapters"
MAX_TOKEN_BYTES = 65_536


class LiveRequest(NamedTuple):
    """Who asks, from where, and how things stand at this moment."""

    settings: SessionSettings
    data_dir: DataDir
    code: CodeIdentity
    now_ns: int
    """Wall clock."""
    pressure: PressureGate
    """Of this host, just now."""
    kill_switch: str | None
    """Who threw it and why; None where it is clear."""


class UnmetError(Exception):
    """A condition is not met; the message says what was expected and what was found."""


class Case:
    """One request's evidence, each piece read when a condition first asks for it."""

    def __init__(self, request: LiveRequest) -> None:
        self.request = request
        self.settings = request.settings
        self.live: LiveSettings = request.settings.gates.live

    @cached_property
    def trusted(self) -> TrustedKeys:
        """Whose bundles are believed."""
        return trusted_keys(self.settings.keys.trusted or self.request.data_dir.root / "keys")

    @cached_property
    def verified(self) -> tuple[Verification, ...]:
        """The bundles as they verify; raises where none is named."""
        if not self.live.bundles:
            raise UnmetError("expected a proof bundle (gates.live.bundles), got none")
        max_age_s = float(self.live.max_age_hours * 3600)
        expected = Expected(self.request.now_ns, max_age_s)
        return tuple(verify_bundle(self._path(name), self.trusted, expected) for name in self.live.bundles)

    @property
    def believed(self) -> tuple[Verification, ...]:
        """The bundles; raises unless every one of them is to be trusted."""
        if any(bundle.code is VerifyCode.UNTRUSTED for bundle in self.verified):
            raise UnmetError("expected bundles that are to be trusted, got not judged")
        return self.verified

    @property
    def proof(self) -> tuple[dict[str, Any], ...]:
        """What the bundles say."""
        return tuple(bundle.predicate for bundle in self.believed)

    @cached_property
    def armed(self) -> Armed:
        """The arming token, its signature good; raises where there is none."""
        if self.live.token is None:
            raise UnmetError("expected an arming token (hybrid-platform arm), got none")
        path = check_input_file(self.live.token, "gates.live.token")
        with path.open("rb") as file:
            content = file.read(MAX_TOKEN_BYTES)
        return read_arming(content, trusted_keys(self.settings.keys.operators or self._operators))

    @cached_property
    def adapter_class(self) -> type[LiveAdapter]:
        """The installed adapter's class; raises where there is none, or several and none is named."""
        loaded: type[LiveAdapter] = self._entry_point.load()
        lacking = [name for name in METHODS if not callable(getattr(loaded, name, None))]
        if not isinstance(loaded, type) or lacking:
            raise UnmetError(f"expected a class with {', '.join(METHODS)}, got {loaded!r}")
        return loaded

    @property
    def _entry_point(self) -> EntryPoint:
        installed = {point.name: point for point in entry_points(group=ADAPTERS)}
        name = self.live.adapter or (next(iter(installed)) if len(installed) == 1 else None)
        if name not in installed:
            wanted = f"the adapter {self.live.adapter}" if self.live.adapter else "one live execution adapter"
            raise UnmetError(f"expected {wanted} installed ({ADAPTERS}), got {', '.join(installed) or 'none'}")
        return installed[name]

    @property
    def _operators(self) -> Path:
        return self.request.data_dir.root / OPERATORS

    def _path(self, name: str) -> Path:
        return self.request.data_dir.resolve(f"evidence/{name}") if SESSION_ID_PATTERN.fullmatch(name) else Path(name)
