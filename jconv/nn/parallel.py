"""Parallel convolution: kernels of several sizes on the same input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Num

from jconv._core.validation import is_integer
from jconv.algorithms import Algorithm
from jconv.nn.branches import Concatenate
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation, ConvNorm, square
from jconv.nn.depthwise_conv import DepthwiseConv
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.nn.pool import AvgPool, MaxPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan

# 64 kernels of each size, as in the worked example of the documentation.
WIDTHS = {1: 64, 3: 64, 5: 64}

POOLS: dict[str, Callable[[], nnx.Module]] = {
    "max": lambda: MaxPool((3, 3), 1, "SAME"),
    "average": lambda: AvgPool((3, 3), 1, "SAME", count_include_pad=False),
}


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Description of one branch of a `ParallelConv`: pooling, reduction and convolution, in turn.

    Args:
      width: output channels.
      kernel_size: pixels of the kernel along each axis; an int is the side of a square.
      kernel_dilation: pixels between neighbouring taps.
      reduce: output channels of a 1x1 convolution that comes first, a bottleneck; None for none.
      factorised: whether to convolve with `1 x n` and then with `n x 1`.
      depthwise: whether to convolve each channel separately, and mix them by a 1x1 convolution.
      pool: `"max"` or `"average"` over 3x3 pixels first; None for neither.

    Raises:
      ValueError: for sizes that are not positive ints, or an unknown pool.
    """

    width: int
    kernel_size: int | Sequence[int] = 3
    kernel_dilation: int = 1
    reduce: int | None = None
    factorised: bool = False
    depthwise: bool = False
    pool: str | None = None

    def __post_init__(self):
        for name in ("width", "kernel_dilation", "reduce"):
            value = getattr(self, name)
            if not _is_size(value) and not (name == "reduce" and value is None):
                raise ValueError(f"`{name}` must be a positive int. Received: {name}={value!r}.")
        object.__setattr__(self, "kernel_size", square("kernel_size", self.kernel_size))
        if self.pool is not None and self.pool not in POOLS:
            raise ValueError(
                f"`pool` must be None or one of {list(POOLS)}. Received: pool={self.pool!r}."
            )


Branch.__init__ = flax_names(Branch.__init__)


class ParallelConv(nnx.Module):
    """The Inception module, in its plain form or with any branches.

    An input `(n, h, w, in)` becomes `(n, h, w, sum of widths)`. Each branch has the whole input and
    keeps its rows and columns. The activation is applied to each branch, and their outputs are
    concatenated along channels, in the order of `widths`.

    Args:
      in_features: channels of the input.
      widths: output channels for each kernel size, such as `{1: 16, 3: 32, 5: 8}`, or a list of
        `Branch`es.
      norm: whether convolutions are followed by batch normalisation; needs `Branch`es.
      activation: function applied to each branch, and between its layers; None for none.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions; see `jconv.ALGORITHMS`.
      rngs: random streams for the initial parameters.

    Raises:
      ValueError: for widths that are empty, not positive ints, or not branches.

    >>> import jax.numpy as jnp
    >>> block = ParallelConv(3, {1: 64, 3: 64, 5: 64}, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 224, 224, 3))).shape
    (1, 224, 224, 192)
    >>> block = ParallelConv(
    ...     3,
    ...     [
    ...         Branch(width=8, kernel_size=1),
    ...         Branch(width=8, kernel_size=3, kernel_dilation=2),
    ...         Branch(width=8, kernel_size=7, reduce=4, factorised=True),
    ...         Branch(width=8, kernel_size=5, depthwise=True),
    ...         Branch(width=8, kernel_size=1, pool="max"),
    ...     ],
    ...     rngs=nnx.Rngs(0),
    ... )
    >>> block(jnp.ones((1, 32, 32, 3))).shape
    (1, 32, 32, 40)

    Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), figure 2.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        widths: Mapping[int, int] | Sequence[Branch] = WIDTHS,
        *,
        norm: bool = False,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        _check_widths(widths)
        convolution: dict[str, Any] = dict(
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        branches: list[nnx.Module]
        if isinstance(widths, Mapping):
            if norm:
                raise ValueError(
                    "`norm` must be False where `widths` maps sizes to channels. "
                    "Received: norm=True. Give a list of `Branch`es."
                )
            branches = [
                Conv(in_features, width, (size, size), **convolution)
                for size, width in widths.items()
            ]
        else:
            normalisation = dict(
                norm=norm, activation=activation, epsilon=epsilon, momentum=momentum
            )
            branches = [
                Sequential(_branch_layers(branch, in_features, convolution, normalisation))
                for branch in widths
            ]
        self.branches = nnx.List(branches)
        self.activation = activation
        self.concatenate = Concatenate()

    def __call__(self, x: Num[AnyArray, "n h w ci"]) -> Num[AnyArray, "n h w co"]:
        """Return the concatenated outputs of the branches for `x`."""
        y = [branch(x) for branch in self.branches]
        if self.activation is not None:
            y = [self.activation(branch) for branch in y]
        return self.concatenate(y)


def _branch_layers(
    branch: Branch, in_features: int, convolution: dict[str, Any], normalisation: dict[str, Any]
) -> list[nnx.Module]:
    """Return the layers of a branch, the last without an activation.

    Args:
      branch: description of the branch.
      in_features: channels of the input.
      convolution: options of `Conv`.
      normalisation: further options of `ConvNorm`.
    """
    unit = lambda *sizes, **options: ConvNorm(*sizes, **(convolution | normalisation | options))
    layers: list[nnx.Module] = []
    if branch.pool is not None:
        layers.append(POOLS[branch.pool]())
    if branch.reduce is not None:
        layers.append(unit(in_features, branch.reduce, 1))
        in_features = branch.reduce
    sizes = [square("kernel_size", branch.kernel_size)]
    if branch.factorised:
        ones = (1,) * len(sizes[0])
        sizes = [(*ones[:i], n, *ones[i + 1 :]) for i, n in enumerate(sizes[0])][::-1]
    for i, size in enumerate(sizes):
        last = {"activation": None} if i == len(sizes) - 1 else {}
        dilation = {"kernel_dilation": branch.kernel_dilation}
        if branch.depthwise:
            layers.append(
                DepthwiseConv(in_features, size, use_bias=False, **dilation, **convolution)
            )
            size, dilation = (1,) * len(size), {}
        layers.append(unit(in_features, branch.width, size, **dilation, **last))
        in_features = branch.width
    return layers


def _is_size(value: Any) -> bool:
    return is_integer(value) and value > 0


def _check_widths(widths: Any) -> None:
    """Check that `widths` maps sizes to channels, or is a list of branches."""
    if isinstance(widths, Mapping):
        valid = all(map(_is_size, (*widths, *widths.values())))
    else:
        valid = isinstance(widths, Sequence) and all(isinstance(b, Branch) for b in widths)
    if not valid or not widths:
        raise ValueError(
            f"`widths` must map each kernel size to its output channels, all positive ints, such "
            f"as {{1: 16, 3: 32, 5: 8}}, or be a list of `Branch`es. Received: widths={widths!r}."
        )
