"""Interpreter tuning is applied and restored."""

from __future__ import annotations

import gc
import sys

import pytest

from hybrid_platform.session.interpreter import SWITCH_INTERVAL_S, tune_interpreter


def test_loaded_objects_are_frozen_while_stages_run():
    interval = sys.getswitchinterval()
    frozen = gc.get_freeze_count()
    restore = tune_interpreter()
    try:
        assert gc.get_freeze_count() > frozen
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        restore()
    assert (gc.get_freeze_count() == 0) is (frozen == 0)  # objects that were frozen before stay frozen
    assert sys.getswitchinterval() == pytest.approx(interval)
