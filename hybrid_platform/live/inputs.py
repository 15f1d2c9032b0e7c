"""A request to trade live, and the inputs of the gate that judges it; each is read when a condition first needs it."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_platform.domain.ids import SESSION_ID_PATTERN
from hybrid_platform.domain.records import CodeIdentity, PressureGate
from hybrid_platform.evidence.keys import OPERATORS, TrustedKeys, load_trusted_keys
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.evidence.verify import Expectations, Verification, VerifyCode, verify_bundle
from hybrid_platform.live.authorization import SignedAuthorization, read_authorization
from hybrid_platform.security.paths import DataDir, check_input_file
from hybrid_platform.session.commands import CommandFile
from hybrid_platform.settings.gates import LiveSettings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.trading.adapters.live import METHODS, LiveAdapter

ADAPTERS = "hybrid_platform.live_adapters"
"""Entry point group of live execution adapters."""
MAX_TOKEN_BYTES = 65_536


class LiveRequest(NamedTuple):
    """One run's request to trade live, and the state of the host at that moment."""

    settings: SessionSettings
    data_dir: DataDir
    code: CodeIdentity
    now_ns: int
    """Wall clock."""
    pressure: PressureGate
    """CPU pressure of this host."""
    kill_switch: str | None
    """The command that stands, with its author and reason; None when the kill switch is clear."""


def build_live_request(context: RunContext, pressure: PressureGate) -> LiveRequest:
    """Return a run's request to trade live, with the current state of the host and the kill switch."""
    standing = CommandFile(context.data_dir, context.clock).standing()
    return LiveRequest(
        context.settings,
        context.data_dir,
        context.code,
        context.clock.wall_ns(),
        pressure,
        None if standing is None else f"{standing.kind} by {standing.who}: {standing.why}",
    )


class UnmetConditionError(Exception):
    """A condition of the gate is not met; the message has what was expected and what was found."""


class LiveGateInputs:
    """The settings, bundles, token and adapter that a request names, each read on first use.

    A property raises UnmetConditionError if its input is missing, and passes on errors from reading it.
    """

    def __init__(self, request: LiveRequest) -> None:
        self.request = request
        self.settings = request.settings
        self.live: LiveSettings = request.settings.gates.live

    @cached_property
    def trusted_keys(self) -> TrustedKeys:
        """The pinned keys that may sign bundles and matrices."""
        return load_trusted_keys(self.settings.keys.trusted or self.request.data_dir.root / "keys")

    @cached_property
    def verified_bundles(self) -> tuple[Verification, ...]:
        """The named bundles, each with the result of its verification."""
        if not self.live.bundles:
            raise UnmetConditionError("expected a proof bundle (gates.live.bundles), got none")
        expected = Expectations(self.request.now_ns, max_age_s=float(self.live.max_age_hours * 3600))
        return tuple(verify_bundle(self._bundle_path(name), self.trusted_keys, expected) for name in self.live.bundles)

    @property
    def trusted_bundles(self) -> tuple[Verification, ...]:
        """The named bundles; raises unless every one of them can be trusted."""
        if any(bundle.code is VerifyCode.UNTRUSTED for bundle in self.verified_bundles):
            raise UnmetConditionError("expected bundles that can be trusted, got not judged")
        return self.verified_bundles

    @property
    def predicates(self) -> tuple[dict[str, Any], ...]:
        """The signed statements of the trusted bundles."""
        return tuple(bundle.predicate for bundle in self.trusted_bundles)

    @cached_property
    def signed_authorization(self) -> SignedAuthorization:
        """The arming token, with a valid signature."""
        if self.live.token is None:
            raise UnmetConditionError("expected an arming token (hybrid-platform arm), got none")
        path = check_input_file(self.live.token, "gates.live.token")
        with path.open("rb") as file:
            content = file.read(MAX_TOKEN_BYTES)
        operators = load_trusted_keys(self.settings.keys.operators or self.request.data_dir.root / OPERATORS)
        return read_authorization(content, operators)

    @cached_property
    def adapter_class(self) -> type[LiveAdapter]:
        """The class of the adapter that the settings name, or of the only one installed."""
        loaded: type[LiveAdapter] = self._entry_point.load()
        lacking = [name for name in METHODS if not callable(getattr(loaded, name, None))]
        if not isinstance(loaded, type) or lacking:
            raise UnmetConditionError(f"expected a class with {', '.join(METHODS)}, got {loaded!r}")
        return loaded

    @property
    def _entry_point(self) -> EntryPoint:
        installed = {point.name: point for point in entry_points(group=ADAPTERS)}
        name = self.live.adapter or (next(iter(installed)) if len(installed) == 1 else None)
        if name not in installed:
            expected = f"the adapter {self.live.adapter}" if self.live.adapter else "one live execution adapter"
            found = ", ".join(installed) or "none"
            raise UnmetConditionError(f"expected {expected} installed ({ADAPTERS}), got {found}")
        return installed[name]

    def _bundle_path(self, name: str) -> Path:
        return self.request.data_dir.resolve(f"evidence/{name}") if SESSION_ID_PATTERN.fullmatch(name) else Path(name)
