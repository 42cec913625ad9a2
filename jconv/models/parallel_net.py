"""A small Inception-style network: parallel convolution, pooling, again, and a dense layer."""

import math
from collections.abc import Mapping, Sequence

import jax
from flax import nnx
from jaxtyping import Array, Float

from jconv.algorithms import Algorithm
from jconv.nn import Branch, Flatten, MaxPool, ParallelConv
from jconv.selection.plan import Plan


class ParallelNet(nnx.Module):
    """Names what it sees: `(n, h, w, c)` to `(n, num_classes)` logits.

    Each block sees its input through kernels of several sizes, applies ReLU and halves rows and
    columns by max pooling; what is left is flattened, dropped out and mixed by a dense layer.

    Args:
      num_classes: logits to give.
      input_shape: (h, w, c) of one image.
      blocks: output channels for each kernel size, block by block; see `jconv.nn.ParallelConv`.
      norm: whether every convolution is followed by a batch norm.
      dropout: share of the features dropped while training.
      algorithm: how every branch convolves; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels, and what is dropped.

    Raises:
      ValueError: where the image is too small to be halved once a block.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        input_shape: Sequence[int] = (8, 8, 1),
        blocks: Sequence[Mapping[int, int]] = ({1: 8, 3: 16, 5: 8}, {1: 16, 3: 32, 5: 16}),
        norm: bool = False,
        dropout: float = 0.0,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        *space, channels = input_shape
        if min(space) < 2 ** len(blocks):
            raise ValueError(
                f"`blocks` must be few enough to halve an image of {space[0]}x{space[1]} pixels "
                f"each time. Received: {len(blocks)} blocks. Use at most "
                f"{int(math.log2(min(space)))}."
            )
        self.blocks, self.pools = nnx.List(), nnx.List()
        for widths in blocks:
            branches = [Branch(width=w, kernel=k) for k, w in widths.items()] if norm else widths
            self.blocks.append(
                ParallelConv(channels, branches, norm=norm, algorithm=algorithm, rngs=rngs)
            )
            self.pools.append(MaxPool((2, 2)))
            channels = sum(widths.values())
        self.flatten = Flatten()
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        features = math.prod(n // 2 ** len(blocks) for n in space) * channels
        self.dense = nnx.Linear(features, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        for i, (block, pool) in enumerate(zip(self.blocks, self.pools, strict=True)):
            with jax.named_scope(f"blocks.{i}"):
                x = pool(block(x))
        return self.dense(self.dropout(self.flatten(x)))
