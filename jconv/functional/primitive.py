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
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jconv._core.geometry import Window
from jconv._core.problem import Precision, Problem, accumulator
from jconv._core.sharding import (
    may_split_space,
    output_sharding,
    placed_like,
    sharded,
    varying_alike,
)
from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.selection.choose import choose
from jconv.selection.plan import Chosen, for_any_kernel, lenient, settle

conv_p = Primitive("jconv_conv")
GPUS = {"cuda": "gpu", "rocm": "gpu"}  # platforms that programs are lowered for


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    window: Window,
    algorithm: Chosen,
    input_gradient: Chosen,
    kernel_gradient: Chosen,
    tolerance: float | None,
    precision: Precision,
    preferred_element_type: jnp.dtype,
) -> jax.Array:
    """Binds the primitive. Operands are canonical and of one dtype.

    Args:
      x: inputs (b, n, *input, g, c).
      kernel: kernels (b, *taps, g, c, f).
      window: the spatial axes.
      algorithm: of this convolution; `"auto"` is chosen when the program is lowered.
      input_gradient: the algorithm of the derivative in `x`.
      kernel_gradient: the algorithm of the derivative in `kernel`.
      tolerance: the error bound that `"auto"` keeps to.
      precision: as in `lax.dot_general`.
      preferred_element_type: dtype of the result.

    Raises:
      ValueError: where the algorithm cannot do this convolution.
    """
    x, kernel = varying_alike(x, kernel)
    problem = Problem.of(x, kernel, window, preferred_element_type)
    return conv_p.bind(
        x,
        kernel,
        window=window,
        algorithm=settle(algorithm, problem),
        input_gradient=input_gradient,
        kernel_gradient=kernel_gradient,
        tolerance=tolerance,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _evaluate(x, kernel, *, spread: bool, **params):
    if params["algorithm"] == "auto" and may_split_space(jax.typeof(x), spread):
        params["algorithm"] = ALGORITHMS["xla"]  # which exchanges the borders of neighbours alone
    shape = _output_shape(x, kernel, params["window"])
    return sharded(partial(_on_one_device, **params), x, kernel, shape)


def _on_one_device(
    x, kernel, *, window, algorithm, tolerance, precision, preferred_element_type, platforms, **_
):
    def run(algorithm: Algorithm):
        return lambda x, kernel: algorithm(
            x, kernel, window, precision=precision, preferred_element_type=preferred_element_type
        )

    if algorithm != "auto":
        return run(algorithm)(x, kernel)
    problem = Problem.of(x, kernel, window, preferred_element_type)
    chosen = {
        platform: choose(problem, GPUS.get(platform, platform), tolerance).algorithm
        for platform in platforms
    }
    if len(set(chosen.values())) == 1:
        return run(ALGORITHMS[chosen[platforms[0]]])(x, kernel)
    runs = {platform: run(ALGORITHMS[name]) for platform, name in chosen.items()}
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
    """Outside of `jit`, as when a gradient is pulled back eagerly."""
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        platforms = (jax.default_backend(),)
        return _evaluate(x, kernel, spread=False, platforms=platforms, **params)
    return _compiled(x, kernel, **params)


_compiled = jax.jit(
    conv_p.bind,
    static_argnames=(
        "window",
        "algorithm",
        "input_gradient",
        "kernel_gradient",
        "tolerance",
        "precision",
        "preferred_element_type",
    ),
)


def _lower(context: mlir.LoweringRuleContext, x, kernel, **params):
    # Of a program that XLA partitions; inside of `shard_map` the context is another.
    devices = getattr(context.module_context.axis_context, "num_devices", None) or 1
    platforms = tuple(context.platforms or context.module_context.platforms)
    evaluate = partial(_evaluate, spread=devices > 1, platforms=platforms, **params)
    return mlir.lower_fun(evaluate, multiple_results=False)(context, x, kernel)


mlir.register_lowering(conv_p, _lower)


def transposed_kernel(kernel: jax.Array) -> jax.Array:
    """The kernel of the input gradient: taps reversed, input and output channels exchanged."""
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
        input_gradient=lenient(algorithm),
        **params,
    )
    return placed_like(x_bar, x.aval)


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
        kernel_gradient=lenient(for_any_kernel(algorithm)),
        **_for_any_kernel(params),
    )
    kernel_bar = jnp.moveaxis(kernel_bar, 1, -2)  # (b, c, *t, g, f) -> (b, *t, g, c, f)
    return placed_like(kernel_bar, kernel.aval)


def _for_any_kernel(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a convolution in which something else takes the kernel's place."""
    choices = ("algorithm", "input_gradient", "kernel_gradient")
    return {name: for_any_kernel(p) if name in choices else p for name, p in params.items()}


def _is_real(aval) -> bool:
    return not jnp.issubdtype(aval.dtype, jnp.complexfloating)


def _one_dtype(x, y, real: bool = False):
    """Both in one dtype, without imaginary parts where the result is `real`: of real operands."""
    if real:
        x, y = x.real, y.real
    # A cotangent may be wider or narrower than the operand it meets, also where the caller has
    # forbidden that dtypes are promoted silently.
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.promote_types(*(d if x.dtype == y.dtype else accumulator(d)
                                    for d in (x.dtype, y.dtype)))  # fmt: skip
    return x.astype(dtype), y.astype(dtype)


def _along_x(dx, x, kernel, **params):
    return convolve(dx, kernel, **params)


def _along_kernel(dkernel, x, kernel, **params):
    return convolve(x, dkernel, **_for_any_kernel(params))


ad.defbilinear(conv_p, _input_gradient, _kernel_gradient)
ad.defjvp(conv_p, _along_x, _along_kernel)


def _taylor(primals, series, **params):
    """The coefficients of a product of two power series, without their factorials, for `jet`."""
    xs, kernels = ([primal, *terms] for primal, terms in zip(primals, series, strict=True))

    def product(j, k):
        if any(type(term) is jet.ZeroSeries for term in (xs[j], kernels[k])):
            return 0
        own = params if k == 0 else _for_any_kernel(params)
        return convolve(xs[j], kernels[k], **own)

    y, *terms = (sum(product(j, n - j) for j in range(n + 1)) for n in range(len(xs)))
    return y, terms


jet.jet_rules[conv_p] = _taylor


def _batch(args, axes, **params):
    """Folds a new axis `v` into an axis that is there already; returns `y` and where `v` is."""
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:
        v = x.shape[x_axis]
        x = jnp.moveaxis(x, x_axis, 1)
        y = convolve(x.reshape(x.shape[0], v * x.shape[2], *x.shape[3:]), kernel, **params)
        return y.reshape(y.shape[0], v, x.shape[2], *y.shape[2:]), 1
    v = kernel.shape[kernel_axis]
    if x_axis is None and _for_any_kernel(params) != params:
        x, x_axis = jnp.broadcast_to(x, (v, *x.shape)), 0  # side by side, ranks would add up
    if x_axis is None:
        kernel = jnp.moveaxis(kernel, kernel_axis, -2)
        y = convolve(x, kernel.reshape(*kernel.shape[:-2], v * kernel.shape[-1]), **params)
        return y.reshape(*y.shape[:-1], v, kernel.shape[-1]), y.ndim - 1
    x, kernel = jnp.moveaxis(x, x_axis, 0), jnp.moveaxis(kernel, kernel_axis, 0)
    b = x.shape[1]
    y = convolve(x.reshape(v * b, *x.shape[2:]), kernel.reshape(v * b, *kernel.shape[2:]), **params)
    return y.reshape(v, b, *y.shape[1:]), 0


batching.primitive_batchers[conv_p] = _batch
