"""Average pooling to a fixed number of pixels, for inputs of any size."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from jconv.nn.conv_norm import square
from jconv.nn.layer_arguments import AnyArray


class AdaptiveAvgPool(nnx.Module):
    """Average over windows that cover the input evenly: `(n, h, w, c)` to `(n, *output_size, c)`.

    Window `i` of `m` covers pixels `floor(i * n / m)` to `ceil((i + 1) * n / m)`, as in PyTorch;
    where `m` does not divide `n` they overlap.

    Args:
      output_size: pixels of the output; an int is the side of a square.
    """

    def __init__(self, output_size: int | Sequence[int]):
        self.output_size = square("output_size", output_size)

    def __call__(self, x: Float[AnyArray, "n h w c"]) -> Float[AnyArray, "n ho wo c"]:
        """Return the averages of `x`."""
        for axis, m in enumerate(self.output_size, start=1):
            x = jnp.moveaxis(jnp.tensordot(_averages(x.shape[axis], m), x, (1, axis)), 0, axis)
        return x


def _averages(n: int, m: int) -> np.ndarray:
    """Return the matrix (m, n) that averages `n` pixels to `m`."""
    start = np.arange(m) * n // m
    end = -(-(np.arange(m) + 1) * n // m)
    pixel = np.arange(n)
    covered = (start[:, None] <= pixel) & (pixel < end[:, None])
    return (covered / covered.sum(1, keepdims=True)).astype(np.float32)
