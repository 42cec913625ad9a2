"""Exact merging of parallel and sequential layers into one convolution."""

from jconv.structure.affine import NotMergeable as NotMergeable
from jconv.structure.layer_rules import register_merge_rule as register_merge_rule
from jconv.structure.merge import merge as merge
from jconv.structure.merged_block import MergedBlock as MergedBlock
from jconv.structure.merged_block import Merging as Merging
