"""Networks for tests of merging: creation without compilation, and random structures.

Random structures are convolutions, batch norms, average pools and activations, composed, added and
concatenated.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from hypothesis import strategies as st

from jconv import nn
from jconv.nn.conv import FLAX_BORDERS

CHANNELS = 4
SHAPE = (2, 9, 8, CHANNELS)


def create(make, seed=0):
    """Return the network that `make` builds, with parameters drawn by NumPy.

    Flax's initializers would compile a program for each shape, which takes most of the time.
    """
    graph, state = nnx.split(nnx.eval_shape(make))
    rng = np.random.default_rng(seed)
    draw = lambda leaf: jnp.asarray(_scaled_normal(rng, leaf.shape), leaf.dtype)
    model = nnx.merge(graph, jax.tree.map(draw, state))
    for _, module in nnx.iter_modules(model):
        if getattr(module, "has_kernel_of_ones", False):
            module.kernel.set_value(jnp.asarray(np.ones(module.kernel.shape, "float32")))
    return randomize(model, seed)


def _scaled_normal(rng, shape):
    return rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))


def randomize(model, seed=0):
    """Draw the statistics and parameters of batch norms, and the biases of convolutions."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high, like: jnp.asarray(rng.uniform(low, high, like.shape), like.dtype)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.BatchNorm):
            for variable, low, high in (
                (module.mean, -1, 1),
                (module.var, 0.3, 2),
                (module.scale, -2, 2),
                (module.bias, -1, 1),
            ):
                if variable is not None:
                    variable.set_value(draw(low, high, variable))
        if isinstance(module, nnx.Conv) and module.bias is not None:
            module.bias.set_value(draw(-1, 1, module.bias))
    return model


def rngs():
    return nnx.Rngs(0)


def same(x):
    """Return the argument."""
    return x


class Residual(nn.Sequential):
    """A sequence with a custom `__call__`."""

    def __call__(self, x):
        return x + super().__call__(x)


class Halved(nn.Conv):
    """A convolution with a custom `__call__`."""

    def __call__(self, inputs, out_sharding=None):
        return super().__call__(inputs, out_sharding) / 2


def numpy_init(_, shape, dtype):
    """Draw a kernel with NumPy: XLA compiles nothing, unlike for Flax's initializers."""
    return jnp.asarray(_scaled_normal(np.random.default_rng(shape), shape), dtype)


NORM_PARTS = ("use_scale", "use_bias")
DTYPES = [None] * 12 + [jnp.float32, jnp.bfloat16]


@st.composite
def convolutions(draw, width, channels=CHANNELS):
    """Draw a convolution."""
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    pads = ["SAME", "SAME", "VALID", 0, 1, ((1, 0), (0, 2)), ((0, -1), (2, 0)), ((0, 1), (3, 0))]
    padding = draw(st.sampled_from([*pads, "CIRCULAR", "REFLECT"]))
    modes = ["zeros"] * 5 + ["circular", "replicate"]
    return draw(st.sampled_from([nn.Conv] * 15 + [Halved]))(
        channels,
        width,
        size,
        draw(st.sampled_from([1, 1, 1, 2, (1, 2)])),
        padding=padding,
        padding_mode="zeros" if padding in FLAX_BORDERS else draw(st.sampled_from(modes)),
        kernel_dilation=draw(st.sampled_from([1, 1, 1, 2, (2, 1)])),
        feature_group_count=groups if width % groups == 0 else 1,
        use_bias=draw(st.booleans()),
        dtype=draw(st.sampled_from(DTYPES)),
        kernel_init=draw(st.sampled_from([numpy_init] * 5 + [nnx.initializers.ones])),
        rngs=rngs(),
    )


@st.composite
def pools(draw):
    """Draw an average pool."""
    return nn.AvgPool(
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.sampled_from([1, 1, 2])),
        draw(st.sampled_from(["VALID", "SAME"])),
        count_include_pad=draw(st.booleans()),
    )


@st.composite
def expanded(draw):
    """Draw two layers that double the number of channels and reduce it again."""
    if draw(st.booleans()):
        size = draw(st.sampled_from([(1, 1), (3, 2)]))
        init = draw(st.sampled_from([numpy_init, nnx.initializers.ones]))
        options = dict(use_bias=draw(st.booleans()), kernel_init=init, rngs=rngs())
        first = nn.DepthwiseConv(CHANNELS, size, multiplier=2, **options)
    else:
        branches = [draw(st.just(same) | pools()) for _ in range(2)]
        first = nn.Parallel(branches)
    return nn.Sequential([first, draw(convolutions(CHANNELS, 2 * CHANNELS))])


@st.composite
def layers(draw):
    """Draw a layer that keeps the number of channels."""
    kinds = ["conv"] * 3 + ["norm", "pad", "pool", "activation", "identity", "expanded"]
    match draw(st.sampled_from(kinds)):
        case "conv":
            return draw(convolutions(CHANNELS))
        case "norm":
            return nnx.BatchNorm(CHANNELS, dtype=draw(st.sampled_from(DTYPES)), rngs=rngs())
        case "pad":
            parts = {name: draw(st.sampled_from([True] * 3 + [False])) for name in NORM_PARTS}
            return nn.NormPad(CHANNELS, draw(st.integers(0, 2)), **parts, rngs=rngs())
        case "pool":
            return draw(pools())
        case "activation":
            return draw(st.sampled_from([nnx.relu, nnx.tanh]))
        case "expanded":
            return draw(expanded())
    return same


def structures():
    """Return a strategy for layers and for networks of up to six of them."""
    rows = lambda inner: st.builds(
        lambda kind, layers: kind(layers),
        st.sampled_from([nn.Sequential] * 15 + [Residual]),
        st.lists(inner, min_size=1, max_size=3),
    )
    parallel = lambda inner: st.builds(
        lambda branches, join: nn.Parallel(branches, join=join),
        st.lists(rows(inner), min_size=1, max_size=3),
        st.sampled_from(["add", "add", "concatenate"]),
    )
    return st.recursive(layers(), lambda inner: rows(inner) | parallel(inner), max_leaves=6)
