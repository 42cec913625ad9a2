"""The JAX primitive: one bilinear map that is closed under differentiation and batching.

    x (b, n, *input, g, c), kernel (b, *taps, g, c, f)  ->  y (b, n, *output, g, f)

- Its derivative in `x` is the same map of the output's cotangent and the reversed kernel, with
  stride and input dilation exchanged.
- Its derivative in `kernel` is the same map with `n` in the role of `c` and the cotangent as the
  kernel, with stride and dilation exchanged.
- `vmap` over `x` alone folds into `n`, over `kernel` alone into `f`, over both into `b`.

So forward, input gradient and kernel gradient are three convolutions to any order, each with the
algorithm that suits its own shapes, and no algorithm is ever differentiated through its inside.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.algorithms.algorithm import Precision, Problem, accumulator
from jconv.selection import choose
from jconv.sharding import output_sharding, placed_like, sharded, varying_alike
from jconv.window import Window

conv_p = Primitive("jconv_conv")


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    window: Window,
    algorithm: Algorithm | str,
    tolerance: float | None,
    precision: Precision,
    preferred_element_type: jnp.dtype,
) -> jax.Array:
    """Binds the primitive. Operands are canonical and of one dtype.

    Args:
      x: inputs (b, n, *input, g, c).
      kernel: kernels (b, *taps, g, c, f).
      window: the spatial axes.
      algorithm: a value, or `"auto"` to choose when the program is lowered.
      tolerance: the error bound that `"auto"` keeps to.
      precision: as in `lax.dot_general`.
      preferred_element_type: dtype of the result.
    """
    x, kernel = varying_alike(x, kernel)
    return conv_p.bind(
        x,
        kernel,
        window=window,
        algorithm=algorithm,
        tolerance=tolerance,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _evaluate(x, kernel, **params):
    shape = _output_shape(x, kernel, params["window"])
    return sharded(partial(_on_one_device, **params), x, kernel, shape)


def _on_one_device(x, kernel, *, window, algorithm, tolerance, precision, preferred_element_type):
    def run(algorithm: Algorithm):
        return lambda x, kernel: algorithm(
            x, kernel, window, precision=precision, preferred_element_type=preferred_element_type
        )

    if algorithm != "auto":
        return run(algorithm)(x, kernel)
    problem = Problem.of(x, kernel, window)
    on_cpu, elsewhere = (
        choose(problem, platform, tolerance).algorithm for platform in ("cpu", "other")
    )
    if on_cpu == elsewhere:
        return run(ALGORITHMS[on_cpu])(x, kernel)
    return lax.platform_dependent(
        x, kernel, cpu=run(ALGORITHMS[on_cpu]), default=run(ALGORITHMS[elsewhere])
    )


@conv_p.def_abstract_eval
def _shape(x, kernel, *, window, preferred_element_type, **_):
    shape = _output_shape(x, kernel, window)
    return ShapedArray(
        shape,
        preferred_element_type,
        sharding=output_sharding(x, kernel, shape),
        manual_axis_type=x.manual_axis_type,
    )


def _output_shape(x, kernel, window: Window):
    return (*x.shape[:2], *window.output, kernel.shape[-3], kernel.shape[-1])


# Outside of `jit`, as when a gradient is pulled back eagerly: compiled once per set of parameters.
conv_p.def_impl(
    jax.jit(
        _evaluate,
        static_argnames=("window", "algorithm", "tolerance", "precision", "preferred_element_type"),
    )
)
mlir.register_lowering(conv_p, mlir.lower_fun(_evaluate, multiple_results=False))


def _input_gradient(y_bar, x, kernel, *, window, preferred_element_type, **params):
    """x_bar[b, n, i, g, c] = sum over t, f of y_bar[b, n, o, g, f] kernel[b, t, g, c, f]."""
    flipped = jnp.flip(kernel, range(1, window.rank + 1))
    y_bar, kernel = _one_dtype(y_bar, jnp.swapaxes(flipped, -2, -1))
    x_bar = convolve(y_bar, kernel, window=window.input_gradient(),
                     preferred_element_type=x.aval.dtype, **params)  # fmt: skip
    return placed_like(x_bar, x.aval)


def _kernel_gradient(y_bar, x, kernel, *, window, preferred_element_type, **params):
    """kernel_bar[b, t, g, c, f] = sum over n, o of x[b, n, i, g, c] y_bar[b, n, o, g, f]."""
    x, y_bar = _one_dtype(x, y_bar)
    # (b, n, *i, g, c) -> (b, c, *i, g, n) and (b, n, *o, g, f) -> (b, *o, g, n, f)
    x, y_bar = jnp.swapaxes(x, 1, -1), jnp.moveaxis(y_bar, 1, -2)
    kernel_bar = convolve(x, y_bar, window=window.kernel_gradient(),
                          preferred_element_type=kernel.aval.dtype, **params)  # fmt: skip
    kernel_bar = jnp.moveaxis(kernel_bar, 1, -2)  # (b, c, *t, g, f) -> (b, *t, g, c, f)
    return placed_like(kernel_bar, kernel.aval)


def _one_dtype(x, y):
    # A cotangent may be wider or narrower than the operand it meets, also where the caller has
    # forbidden that dtypes are promoted silently.
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.promote_types(*(d if x.dtype == y.dtype else accumulator(d)
                                    for d in (x.dtype, y.dtype)))  # fmt: skip
    return x.astype(dtype), y.astype(dtype)


ad.defbilinear(conv_p, _input_gradient, _kernel_gradient)


def _batch(args, axes, **params):
    """Folds a new axis `v` into an axis that is there already; returns `y` and where `v` is."""
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:
        v = x.shape[x_axis]
        x = jnp.moveaxis(x, x_axis, 1)
        y = convolve(x.reshape(x.shape[0], v * x.shape[2], *x.shape[3:]), kernel, **params)
        return y.reshape(y.shape[0], v, x.shape[2], *y.shape[2:]), 1
    v = kernel.shape[kernel_axis]
    if x_axis is None:
        kernel = jnp.moveaxis(kernel, kernel_axis, -2)
        y = convolve(x, kernel.reshape(*kernel.shape[:-2], v * kernel.shape[-1]), **params)
        return y.reshape(*y.shape[:-1], v, kernel.shape[-1]), y.ndim - 1
    x, kernel = jnp.moveaxis(x, x_axis, 0), jnp.moveaxis(kernel, kernel_axis, 0)
    b = x.shape[1]
    y = convolve(x.reshape(v * b, *x.shape[2:]), kernel.reshape(v * b, *kernel.shape[2:]), **params)
    return y.reshape(v, b, *y.shape[1:]), 0


batching.primitive_batchers[conv_p] = _batch
