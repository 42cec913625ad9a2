"""jconv: a convolution laboratory for JAX."""

from jconv import analysis as analysis
from jconv import kernels as kernels
from jconv import models as models
from jconv import nn as nn
from jconv.algorithms import ALGORITHMS as ALGORITHMS
from jconv.algorithms import FFT as FFT
from jconv.algorithms import Direct as Direct
from jconv.algorithms import Im2col as Im2col
from jconv.algorithms import OverlapAdd as OverlapAdd
from jconv.algorithms import Phases as Phases
from jconv.algorithms import Separable as Separable
from jconv.algorithms import Winograd as Winograd
from jconv.algorithms import Xla as Xla
from jconv.convolution import conv as conv
from jconv.convolution import conv_general_dilated as conv_general_dilated
from jconv.convolution import depthwise_conv as depthwise_conv
from jconv.convolution import output_shape as output_shape
from jconv.convolution import separable_conv as separable_conv
from jconv.deform import deform_conv as deform_conv
from jconv.inspection import inspect as inspect
from jconv.local import conv_local as conv_local
from jconv.patches import fold as fold
from jconv.patches import unfold as unfold
from jconv.plan import Plan as Plan
from jconv.pooling import avg_pool as avg_pool
from jconv.pooling import lp_pool as lp_pool
from jconv.pooling import max_pool as max_pool
from jconv.report.walkthrough import walkthrough as walkthrough
from jconv.rewrite import accelerate as accelerate
from jconv.rewrite import accelerated as accelerated
from jconv.transpose import conv_transpose as conv_transpose
from jconv.window import output_size as output_size

__version__ = "0.1.0"
