"""Problems and tuning tables for tests."""

import contextlib

import jax
import jax.numpy as jnp

from jconv._core.geometry import make_window
from jconv._core.problem import Problem
from jconv.selection.tuning_table import TuningTable, versions
from jconv.transforms.tune import clear_choice_cache

PLATFORM, DEVICE_KIND = jax.default_backend(), jax.devices()[0].device_kind


def make_problem(images=2, size=9, taps=3, groups=1, inputs=4, outputs=4) -> Problem:
    """Return the problem of a 2-D convolution with padding `SAME` in float32."""
    window = make_window((size,) * 2, (taps,) * 2, padding="SAME")
    f32 = jnp.dtype("float32")
    return Problem(window, 1, images, groups, inputs, outputs, f32, f32)


def make_table(seconds, device=DEVICE_KIND, made_with=None) -> TuningTable:
    """Return a table of this device and this version of jaxlib, unless others are given."""
    return TuningTable(device, seconds, versions() if made_with is None else made_with)


@contextlib.contextmanager
def tuning_path(path, monkeypatch):
    """Set `JCONV_TUNING` to a path, and clear all cached tables and choices."""
    monkeypatch.setenv("JCONV_TUNING", str(path))
    monkeypatch.setattr("jconv.selection.tuning_table._active_tables", {})
    clear_choice_cache()
    yield path
    monkeypatch.undo()
    clear_choice_cache()
