"""Analysis of networks and kernels: summaries, receptive fields, images of kernels."""

from typing import TYPE_CHECKING

from jconv._core.lazy import attach

if TYPE_CHECKING:
    from jconv.analysis.effective_receptive_field import ReceptiveField as ReceptiveField
    from jconv.analysis.effective_receptive_field import receptive_field as receptive_field
    from jconv.analysis.summary import Summary as Summary
    from jconv.analysis.summary import summarize as summarize

# Loaded on first use, so that reports do not need the libraries of models and data sets.
_DEFINED_IN = {
    "ReceptiveField": "jconv.analysis.effective_receptive_field",
    "Summary": "jconv.analysis.summary",
    "receptive_field": "jconv.analysis.effective_receptive_field",
    "summarize": "jconv.analysis.summary",
}

__all__ = [*_DEFINED_IN]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = attach(__name__, _DEFINED_IN)
