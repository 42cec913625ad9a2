"""jconv: a convolution laboratory for JAX."""

from jconv import analysis as analysis
from jconv import kernels as kernels
from jconv import models as models
from jconv import nn as nn
from jconv.algorithms import ALGORITHMS as ALGORITHMS
from jconv.convolution import conv as conv
from jconv.convolution import conv_general_dilated as conv_general_dilated
from jconv.convolution import depthwise_conv as depthwise_conv
from jconv.convolution import output_shape as output_shape
from jconv.convolution import separable_conv as separable_conv
from jconv.report.walkthrough import walkthrough as walkthrough
from jconv.window import output_size as output_size

__version__ = "0.1.0"
