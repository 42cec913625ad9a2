"""jconv: a convolution laboratory for JAX.

Public names and subpackages are loaded on first use (PEP 562). `import jconv` therefore costs
next to nothing, and a program pays only for the parts that it uses.
"""

from typing import TYPE_CHECKING

from jconv._core.lazy import attach
from jconv._version import __version__ as __version__

if TYPE_CHECKING:
    from jconv import analysis as analysis
    from jconv import data as data
    from jconv import extend as extend
    from jconv import kernels as kernels
    from jconv import models as models
    from jconv import nn as nn
    from jconv import report as report
    from jconv import structure as structure
    from jconv import train as train
    from jconv._core.geometry import output_size as output_size
    from jconv.algorithms import ALGORITHMS as ALGORITHMS
    from jconv.algorithms import FFT as FFT
    from jconv.algorithms import Direct as Direct
    from jconv.algorithms import Im2col as Im2col
    from jconv.algorithms import OverlapAdd as OverlapAdd
    from jconv.algorithms import Phases as Phases
    from jconv.algorithms import Split as Split
    from jconv.algorithms import Winograd as Winograd
    from jconv.algorithms import Xla as Xla
    from jconv.functional.conv import conv as conv
    from jconv.functional.conv import output_shape as output_shape
    from jconv.functional.conv_local import conv_local as conv_local
    from jconv.functional.conv_transpose import conv_transpose as conv_transpose
    from jconv.functional.deform_conv import deform_conv as deform_conv
    from jconv.functional.depthwise_conv import depthwise_conv as depthwise_conv
    from jconv.functional.lax_compat import conv_general_dilated as conv_general_dilated
    from jconv.functional.patches import fold as fold
    from jconv.functional.patches import unfold as unfold
    from jconv.functional.pooling import avg_pool as avg_pool
    from jconv.functional.pooling import lp_pool as lp_pool
    from jconv.functional.pooling import max_pool as max_pool
    from jconv.functional.separable_conv import separable_conv as separable_conv
    from jconv.selection.choose import choose as choose
    from jconv.selection.plan import Plan as Plan
    from jconv.transforms.accelerate import accelerate as accelerate
    from jconv.transforms.accelerate import accelerated as accelerated
    from jconv.transforms.inspect import inspect as inspect
    from jconv.transforms.tune import tune as tune
    from jconv.walkthrough import walkthrough as walkthrough

_MODULES = ("analysis", "data", "extend", "kernels", "models", "nn", "report", "structure", "train")

# Each public function or class, and the module that defines it. The imports above list the same
# names for type checkers.
_DEFINED_IN = {
    "ALGORITHMS": "jconv.algorithms",
    "Direct": "jconv.algorithms",
    "FFT": "jconv.algorithms",
    "Im2col": "jconv.algorithms",
    "OverlapAdd": "jconv.algorithms",
    "Phases": "jconv.algorithms",
    "Plan": "jconv.selection.plan",
    "Split": "jconv.algorithms",
    "Winograd": "jconv.algorithms",
    "Xla": "jconv.algorithms",
    "accelerate": "jconv.transforms.accelerate",
    "accelerated": "jconv.transforms.accelerate",
    "avg_pool": "jconv.functional.pooling",
    "choose": "jconv.selection.choose",
    "conv": "jconv.functional.conv",
    "conv_general_dilated": "jconv.functional.lax_compat",
    "conv_local": "jconv.functional.conv_local",
    "conv_transpose": "jconv.functional.conv_transpose",
    "deform_conv": "jconv.functional.deform_conv",
    "depthwise_conv": "jconv.functional.depthwise_conv",
    "fold": "jconv.functional.patches",
    "inspect": "jconv.transforms.inspect",
    "lp_pool": "jconv.functional.pooling",
    "max_pool": "jconv.functional.pooling",
    "output_shape": "jconv.functional.conv",
    "output_size": "jconv._core.geometry",
    "separable_conv": "jconv.functional.separable_conv",
    "tune": "jconv.transforms.tune",
    "unfold": "jconv.functional.patches",
    "walkthrough": "jconv.walkthrough",
}

__all__ = ["__version__", *_MODULES, *_DEFINED_IN]  # pyright: ignore[reportUnsupportedDunderAll]


__getattr__, __dir__ = attach(__name__, _DEFINED_IN, _MODULES)
