"""Flax NNX layers whose convolutions are jconv's."""

from jconv.nn.container import Sequential as Sequential
from jconv.nn.conv import Conv as Conv
from jconv.nn.conv import DepthwiseConv as DepthwiseConv
from jconv.nn.conv import SeparableConv as SeparableConv
from jconv.nn.parallel import Concatenate as Concatenate
from jconv.nn.parallel import ParallelConv as ParallelConv
from jconv.nn.pool import AvgPool as AvgPool
from jconv.nn.pool import Flatten as Flatten
from jconv.nn.pool import GlobalAveragePool as GlobalAveragePool
from jconv.nn.pool import LpPool as LpPool
from jconv.nn.pool import MaxPool as MaxPool
