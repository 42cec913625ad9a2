"""The JAX primitive: one bilinear map that is closed under differentiation and batching.

    x (b, n, *input, g, c), kernel (b, *taps, g, c, f)  ->  y (b, n, *output, g, f)

- Its derivative in `x` is the same map of the output's cotangent and the reversed kernel, with
  stride and input dilation exchanged.
- Its derivative in `kernel` is the same map with `n` in the role of `c` and the cotangent as the
  kernel, with stride and dilation exchanged.
- `vmap` over `x` alone folds into `n`, over `kernel` alone into `f`, over both into `b`.

Forward pass, input gradient and kernel gradient are therefore three convolutions, to any order,
each with the algorithm that suits its shapes. JAX never differentiates through an algorithm.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jconv._core.geometry import Window
from jconv._core.jaxpr import CONV_PRIMITIVE_NAME
from jconv._core.problem import Precision, Problem, meeting_dtype
from jconv._core.sharding import (
    may_split_space,
    output_sharding,
    reshard_like,
    sharded,
    unify_varying_axes,
)
from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.selection.plan import PassAlgorithm, Selector, preferred, resolve

conv_p = Primitive(CONV_PRIMITIVE_NAME)
GPU_PLATFORMS = {"cuda": "gpu", "rocm": "gpu"}  # the platform of each name that JAX lowers for


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    window: Window,
    algorithm: PassAlgorithm,
    input_gradient: PassAlgorithm,
    kernel_gradient: PassAlgorithm,
    selector: Selector,
    precision: Precision,
    preferred_element_type: jnp.dtype,
) -> jax.Array:
    """Bind the primitive to canonical operands of one dtype.

    Args:
      x: inputs (b, n, *input, g, c).
      kernel: kernels (b, *taps, g, c, f).
      window: the spatial axes.
      algorithm: the algorithm of this convolution.
      input_gradient: the algorithm of the derivative in `x`.
      kernel_gradient: the algorithm of the derivative in `kernel`.
      selector: selects the algorithm for `"auto"` when the program is lowered.
      precision: as in `lax.dot_general`.
      preferred_element_type: dtype of the result.

    Raises:
      ValueError: if the algorithm does not support this convolution.
    """
    x, kernel = unify_varying_axes(x, kernel)
    problem = Problem.of(x, kernel, window, preferred_element_type)
    return conv_p.bind(
        x,
        kernel,
        window=window,
        algorithm=resolve(algorithm, problem),
        input_gradient=input_gradient,
        kernel_gradient=kernel_gradient,
        selector=selector,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _evaluate(x, kernel, *, partitioned: bool, **params):
    if params["algorithm"] == "auto" and may_split_space(jax.typeof(x), partitioned):
        # XLA's convolution exchanges only the borders between neighbouring devices.
        params["algorithm"] = ALGORITHMS["xla"]
    shape = _output_shape(x, kernel, params["window"])
    return sharded(partial(_on_one_device, **params), x, kernel, shape)


def _on_one_device(
    x, kernel, *, window, algorithm, selector, precision, preferred_element_type, platforms, **_
):
    def run(algorithm: Algorithm):
        return lambda x, kernel: algorithm(
            x, kernel, window, precision=precision, preferred_element_type=preferred_element_type
        )

    if algorithm != "auto":
        return run(algorithm)(x, kernel)
    problem = Problem.of(x, kernel, window, preferred_element_type)
    selected = {p: selector(problem, GPU_PLATFORMS.get(p, p)) for p in platforms}
    if len(set(selected.values())) == 1:
        return run(selected[platforms[0]])(x, kernel)
    runs = {platform: run(algorithm) for platform, algorithm in selected.items()}
    return lax.platform_dependent(x, kernel, **runs)


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


@conv_p.def_impl
def _eager(x, kernel, **params):
    """Evaluate outside of `jit`, as in an eager gradient."""
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        platforms = (jax.default_backend(),)
        return _evaluate(x, kernel, partitioned=False, platforms=platforms, **params)
    return _compiled(x, kernel, **params)


_compiled = jax.jit(
    conv_p.bind,
    static_argnames=(
        "window",
        "algorithm",
        "input_gradient",
        "kernel_gradient",
        "selector",
        "precision",
        "preferred_element_type",
    ),
)


def _lower(context: mlir.LoweringRuleContext, x, kernel, **params):
    # The number of devices that XLA partitions the program over. Inside of `shard_map`, where
    # each device has a program of its own, the context has no such number.
    devices = getattr(context.module_context.axis_context, "num_devices", None) or 1
    platforms = tuple(context.platforms or context.module_context.platforms)
    evaluate = partial(_evaluate, partitioned=devices > 1, platforms=platforms, **params)
    return mlir.lower_fun(evaluate, multiple_results=False)(context, x, kernel)


mlir.register_lowering(conv_p, _lower)


def transposed_kernel(kernel: jax.Array) -> jax.Array:
    """Return the kernel of the input gradient: reversed, input and output channels exchanged."""
    return jnp.swapaxes(jnp.flip(kernel, range(1, kernel.ndim - 3)), -2, -1)


def _input_gradient(y_bar, x, kernel, *, window, preferred_element_type, **params):
    """x_bar[b, n, i, g, c] = sum over t, f of y_bar[b, n, o, g, f] kernel[b, t, g, c, f]."""
    y_bar, kernel = _one_dtype(y_bar, transposed_kernel(kernel), _is_real(x.aval))
    # The derivative of this one in `y_bar` is the forward convolution again.
    algorithm, gradient = params.pop("algorithm"), params.pop("input_gradient")
    x_bar = convolve(
        y_bar,
        kernel,
        window=window.input_gradient(),
        preferred_element_type=x.aval.dtype,
        algorithm=gradient,
        input_gradient=preferred(algorithm),
        **params,
    )
    return reshard_like(x_bar, x.aval)


def _kernel_gradient(y_bar, x, kernel, *, window, preferred_element_type, **params):
    """kernel_bar[b, t, g, c, f] = sum over n, o of x[b, n, i, g, c] y_bar[b, n, o, g, f]."""
    x, y_bar = _one_dtype(x, y_bar, _is_real(kernel.aval))
    # (b, n, *i, g, c) -> (b, c, *i, g, n) and (b, n, *o, g, f) -> (b, *o, g, n, f)
    x, y_bar = jnp.swapaxes(x, 1, -1), jnp.moveaxis(y_bar, 1, -2)
    algorithm, gradient = params.pop("algorithm"), params.pop("kernel_gradient")
    kernel_bar = convolve(
        x,
        y_bar,
        window=window.kernel_gradient(),
        preferred_element_type=kernel.aval.dtype,
        algorithm=gradient,
        kernel_gradient=preferred(algorithm),
        **params,
    )
    kernel_bar = jnp.moveaxis(kernel_bar, 1, -2)  # (b, c, *t, g, f) -> (b, *t, g, c, f)
    return reshard_like(kernel_bar, kernel.aval)


def _one_dtype(x, y, real: bool):
    """Convert both to one dtype, without imaginary parts where the result is `real`."""
    if real:
        x, y = x.real, y.real
    dtype = meeting_dtype(x.dtype, y.dtype)
    return x.astype(dtype), y.astype(dtype)


def _is_real(aval) -> bool:
    return not jnp.issubdtype(aval.dtype, jnp.complexfloating)


def _tangent_of_x(dx, x, kernel, **params):
    return convolve(dx, kernel, **params)


def _tangent_of_kernel(dkernel, x, kernel, **params):
    return convolve(x, dkernel, **params)


ad.defbilinear(conv_p, _input_gradient, _kernel_gradient)
ad.defjvp(conv_p, _tangent_of_x, _tangent_of_kernel)


def _taylor(primals, series, **params):
    """Multiply two power series for `jet`, which keeps coefficients without their factorials."""
    xs, kernels = ([primal, *terms] for primal, terms in zip(primals, series, strict=True))

    def product(j, k):
        if any(type(term) is jet.ZeroSeries for term in (xs[j], kernels[k])):
            return 0
        return convolve(xs[j], kernels[k], **params)

    y, *terms = (sum(product(j, n - j) for j in range(n + 1)) for n in range(len(xs)))
    return y, terms


jet.jet_rules[conv_p] = _taylor


def _batch(args, axes, **params):
    """Fold a new axis `v` into an existing axis; return `y` and the position of `v` in it."""
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
