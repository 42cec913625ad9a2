"""What a network's structure can become: branches as one convolution."""

from jconv.structure.affine import Refused as Refused
from jconv.structure.merge import Merging as Merging
from jconv.structure.merge import merge as merge
from jconv.structure.merged_block import Step as Step
