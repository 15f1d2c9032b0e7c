"""The platform's definitions, built once for all tests of a process."""

from __future__ import annotations

from hybrid_platform.definitions import defs as build_definitions

defs = build_definitions()
