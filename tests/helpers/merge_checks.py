"""Independent checks of `merge`: of the merged network, or of the reason for not merging.

A reason is checked numerically: a network that is said not to equal one convolution must not behave
like one.
"""

import itertools
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from helpers.structures import CHANNELS, SHAPE, Halved, Residual, randomize
from jconv import nn
from jconv.nn.conv import FLAX_BORDERS
from jconv.structure import NotMergeable, merge
from jconv.structure.layer_rules import to_affine_layer
from jconv.structure.merged_block import SINGLE_LAYERS

# The sizes have every remainder by 4, the largest common stride, so the last window ends at
# different distances from the border.
SIZES = ((11, 12), (14, 13), (12, 14), (13, 11))
# These have the same remainders. They show what depends on the size of the last window only.
LARGER_SIZES = ((15, 16), (18, 17), (16, 18), (17, 15))


@dataclass
class Outcome:
    """Result of merging a random structure.

    Attributes:
      kind: `"merged whole"`, `"merged in parts"`, `"not mergeable"`, or why it is not a test case.
      fault: what is wrong; empty if nothing is.
    """

    kind: str
    fault: str = ""


def check_merge(model, seed):
    """Merge a random structure, compare the outputs, and return the outcome."""
    if not isinstance(model, nnx.Module):
        return Outcome("no module")
    model = randomize(model, seed)
    viewed = nnx.view(model, use_running_average=True, raise_if_not_found=False)
    x = np.random.default_rng(seed).normal(size=SHAPE).astype("float32")
    try:
        size = jax.eval_shape(lambda x: viewed(x), x).size
    except (ValueError, TypeError):
        return Outcome("branches of different shapes")
    if size == 0:
        return Outcome("empty output")
    try:
        merged = merge(model, SHAPE[1:])
    except NotMergeable as error:
        if not error.reasons:
            layers = _count_layers(viewed)
            return Outcome("one layer", f"{error}; but there are {layers}" if layers > 1 else "")
        reason = next(iter(error.reasons.values()))
        return Outcome("not mergeable", find_contradiction(reason, viewed))
    is_whole = any(block.path == "model" for block in merged.blocks)
    kind = "merged whole" if is_whole else "merged in parts"
    y, expected, outputs = _outputs(merged, x, seed)
    if (y.shape, y.dtype) != (expected.shape, expected.dtype):
        return Outcome(kind, f"{y.dtype}{y.shape}, not {expected.dtype}{expected.shape}")
    faults = [
        excess_over_bound(block, *arrays)
        for block, arrays in zip(merged.blocks, outputs, strict=True)
    ]
    # Each block is within its bound; this finds blocks that are put in the wrong place.
    tolerance = {jnp.float32: 1e-3, jnp.bfloat16: 0.1}[max(requested_dtypes(model), key=epsilon)]
    y, expected = np.asarray(y, np.float32), np.asarray(expected, np.float32)
    error = np.abs(y - expected).max() / max(1, np.abs(expected).max())
    faults.append(f"wrong by {error}" if error > tolerance else "")
    if not is_whole:
        faults.append(find_contradiction(merged.reasons["model"], viewed))
    return Outcome(kind, "; ".join(filter(None, faults)))


def _count_layers(model):
    return sum(isinstance(module, SINGLE_LAYERS) for _, module in nnx.iter_modules(model))


def _outputs(merged, x, seed):
    """Return the outputs of both networks, and for each block its input and both outputs."""
    inputs = [
        x
        if block.path == "model"
        else np.random.default_rng(seed).normal(size=block.input_shape).astype("float32")
        for block in merged.blocks
    ]

    @nnx.jit
    def run(model, original, layers, x, inputs):
        blocks = zip(layers, inputs, strict=True)
        return model(x), original(x), [(before(x), after(x)) for (before, after), x in blocks]

    layers = [(block.before, block.after) for block in merged.blocks]
    y, expected, outputs = run(merged.model, merged.original, layers, x, inputs)
    return y, expected, [(x, *pair) for x, pair in zip(inputs, outputs, strict=True)]


def excess_over_bound(block, x, expected, y):
    """Return by how much the outputs of a block exceed the error bound; empty if they do not."""
    eps = jnp.finfo(y.dtype).eps
    expected, y = (np.asarray(array, np.float64) for array in (expected, y))
    # The activation rounds once more before and after merging.
    allowed = block.error_bound(x) + 4 * eps * np.abs(expected)
    excess = (np.abs(y - expected) / allowed).max()
    return f"{excess} times the bound at {block.path}" if excess > 1 else ""


def requested_dtypes(model):
    """Return the `dtype` arguments of all layers, and float32."""
    dtypes = (getattr(module, "dtype", None) for _, module in nnx.iter_modules(model))
    return {jnp.float32, *(dtype for dtype in dtypes if dtype is not None)}


def epsilon(dtype):
    """Return the distance from 1 to the next number of a dtype."""
    return jnp.finfo(dtype).eps


def in_float32(model):
    """Return a copy without `dtype` arguments, whose outputs can be compared precisely."""
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        if hasattr(module, "dtype"):
            module.dtype = None
    return model


def without_location(reason):
    """Return a reason without the layers and branches that it names first."""
    return re.sub(r"^(branch \d+: |layer \d+ \(\w+\): )+", "", reason)


def find_contradiction(reason, model):
    """Return why a reason for not merging a network is wrong; empty if it is right."""
    reason = without_location(reason)
    modules = [module for _, module in nnx.iter_modules(model)]
    convs = [module for module in modules if isinstance(module, nnx.Conv)]
    if "it has no convolution" in reason:
        return f"{reason}; but there are {len(convs)}" if convs else ""
    if "custom `__call__`" in reason:
        custom = {type(module).__name__ for module in modules if type(module) in (Residual, Halved)}
        return "" if reason.split()[0] in custom else f"{reason}; but there is none"
    if "computes in" in reason or "compute in" in reason:
        requested = any(getattr(module, "dtype", None) for module in modules)
        return "" if requested else f"{reason}; but no layer has a `dtype`"
    model = in_float32(model)
    if "averages at the border" in reason:
        pools = [module for module in modules if isinstance(module, nn.AvgPool)]
        return "" if any(map(averages_fewer_pixels, pools)) else f"{reason}; but they are not"
    if "activation" in reason:
        return f"{reason}; but it is affine" if is_affine(with_arcsinh(model)) else ""
    if "differs from '" in reason:
        modes = {*map(padding_mode_of, convs)}
        if any(isinstance(module, nn.NormPad | nn.AvgPool) for module in modules):
            modes.add("zeros")
        return "" if len(modes) > 1 else f"{reason}; but all modes are equal"
    model = with_arcsinh(model)  # An output of ReLU that is always 0 would seem to be constant.
    # A convolution keeps a period, so circular padding can be told from zeros by sizes only.
    if any(word in reason for word in ("input size", "output size", "'circular'", "'reflect'")):
        is_one = is_convolution(model, same_window_at_all_sizes=True)
        return f"{reason}; but it does not" if is_one else ""
    if not is_convolution(model) or any(
        not is_convolution(pair)
        for pair in consecutive_pairs(model)
        if without_location(reason_of(pair)) == reason
    ):
        return ""
    return f"{reason}; but it is a convolution"


def averages_fewer_pixels(pool):
    """Return whether an average pool that excludes padding differs from one that includes it."""
    counting = nnx.clone(pool)
    counting.count_include_pad = True
    return any(np.any(counting(jnp.ones((1, *size, 1))) != 1) for size in SIZES)


def padding_mode_of(conv):
    """Return the padding mode of a convolution by Flax or by jconv."""
    if conv.padding in FLAX_BORDERS:
        return conv.padding.lower()
    return conv.conv_general_dilated.padding_mode


def consecutive_pairs(model):
    """Yield all pairs of consecutive layers, as a third layer may hide a wrong border."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Sequential):
            yield from (nn.Sequential(pair) for pair in itertools.pairwise(module.layers))


def reason_of(model):
    """Return why a network cannot be merged; empty if it can."""
    try:
        to_affine_layer(model)
    except NotMergeable as error:
        return str(error)
    return ""


def with_arcsinh(model):
    """Return a copy with arcsinh as its activation.

    ReLU can be zero or the identity for all inputs of a test, and tanh can be nearly constant.
    """
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Sequential):
            activations = (nnx.relu, nnx.tanh)
            layers = [jnp.arcsinh if layer in activations else layer for layer in module.layers]
            module.layers = nnx.List(layers)
    return model


@nnx.jit
def run(model, x):
    """Return the output, computed by one program, which compiles faster than one for each layer."""
    return model(x)


def is_affine(model):
    """Return whether a network satisfies `f(a + b) - f(b) == f(a) - f(0)` for random inputs."""
    a, b, zero = (np.random.default_rng(i).normal(size=SHAPE) * (i > 0) for i in (1, 2, 0))
    f = lambda x: run(model, x)
    a, b, both, zero = (np.asarray(f(x.astype("float32"))) for x in (a, b, a + b, zero))
    return np.allclose(both - b, a - zero, rtol=0, atol=1e-4 * max(1, np.abs(both).max()))


def is_convolution(model, *, same_window_at_all_sizes=False):
    """Return whether an affine network behaves like one convolution, for inputs of some sizes.

    The output for zeros is equal at all positions, and the response to a pixel equals the shifted
    response to the pixel a stride before. False if there are too few positions to decide.

    Args:
      model: the network.
      same_window_at_all_sizes: also requires the window to lie at the same position relative to the
        first pixel at all sizes.
    """
    previous = []
    for size in SIZES + (LARGER_SIZES if same_window_at_all_sizes else ()):
        try:
            response, of_zero = pixel_responses(model, *size)
        except (TypeError, ValueError):  # The branches fit together at some sizes only.
            return False
        if not is_shift_equivariant(response, of_zero):
            return False
        for other in previous if same_window_at_all_sizes else ():
            common = tuple(map(slice, np.minimum(response.shape, other.shape)))
            if not np.allclose(response[common], other[common], rtol=0, atol=1e-4):
                return False
        previous.append(response)
    return True


def pixel_responses(model, rows, columns):
    """Return the responses to each pixel, `(rows, columns, c, *output, co)`, and to zeros."""
    pixels = np.eye(rows * columns * CHANNELS, dtype="float32")
    pixels = pixels.reshape(-1, rows, columns, CHANNELS)
    inputs = np.concatenate([np.zeros_like(pixels[:1]), pixels])
    outputs = np.asarray(run(model, inputs))
    of_zero, response = outputs[:1], outputs[1:] - outputs[:1]
    return response.reshape(rows, columns, CHANNELS, *response.shape[1:]), of_zero


def is_shift_equivariant(response, of_zero):
    """Return whether responses to pixels are shifted copies along both axes, at any stride."""
    if min(of_zero.shape[1:3]) < 3:
        return False
    close = lambda a, b: np.allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(response).max()))
    if not close(of_zero, of_zero[:, :1, :1]):
        return False

    def is_shifted(axis):
        aligned = np.moveaxis(response, (axis, 3 + axis), (0, 1))
        return any(close(aligned[step:, 1:], aligned[:-step, :-1]) for step in range(1, 9))

    return is_shifted(0) and is_shifted(1)
