"""A small Inception-style classifier: blocks of parallel convolutions and pooling."""

import math
from collections.abc import Mapping, Sequence

import jax
from flax import nnx
from jaxtyping import Array, Float

from jconv.algorithms import Algorithm
from jconv.nn import Branch, Flatten, MaxPool, ParallelConv
from jconv.selection.plan import Plan


class ParallelNet(nnx.Module):
    """Inception-style classifier: images `(n, h, w, c)` to logits `(n, num_classes)`.

    Each block convolves its input with kernels of several sizes, concatenates the results, applies
    ReLU and halves rows and columns by max pooling. Dropout and a dense layer follow.

    Args:
      num_classes: number of classes.
      input_shape: shape `(h, w, c)` of one image.
      blocks: for each block, the output channels by kernel size; see `jconv.nn.ParallelConv`.
      norm: whether a batch norm follows each convolution.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.

    Raises:
      ValueError: if the image is too small to be halved by every block.
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
            branches = (
                [Branch(width=w, kernel_size=k) for k, w in widths.items()] if norm else widths
            )
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
        """Return the logits of a batch of images."""
        for i, (block, pool) in enumerate(zip(self.blocks, self.pools, strict=True)):
            with jax.named_scope(f"blocks.{i}"):
                x = pool(block(x))
        return self.dense(self.dropout(self.flatten(x)))
