"""Sharding: what the types of a convolution's operands on many devices say of its result.

Under automatic sharding XLA decides, once the program is whole, and types say nothing. Inside of
`shard_map` a type says over which devices an array varies. On a mesh with explicit axes, as
`jax.make_mesh` gives, it says which axis of the array is split over which axis of the mesh.
"""

import math
from collections.abc import Callable, Sequence

import jax
from jax import lax
from jax.core import ShapedArray
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def unify_varying_axes(*arrays: jax.Array) -> list[jax.Array]:
    """Mark each array as varying over the mesh axes over which any of them varies.

    This matters inside of `shard_map`. The transpose of the mark is the sum over devices, without
    which the gradient of a kernel that all devices share would lack the other devices' terms.
    """
    varying = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    every = frozenset().union(*varying)
    return [
        lax.pcast(array, tuple(every - axes), to="varying") if every - axes else array
        for array, axes in zip(arrays, varying, strict=True)
    ]


def output_sharding(x: ShapedArray, kernel: ShapedArray, shape: Sequence[int]) -> NamedSharding:
    """Return the sharding of a canonical convolution: each axis as in the operand that has it.

    An axis stays whole where the mesh does not divide it, and no axis of the mesh is used twice.
    """
    of_x, of_kernel = _spec(x), _spec(kernel)
    # (b, n, *input, g, c) and (b, *taps, g, c, f) to (b, n, *output, g, f)
    wanted = (of_x[0] or of_kernel[0], *of_x[1:-2], of_x[-2] or of_kernel[-3], of_kernel[-1])
    mesh, used, spec = x.sharding.mesh, set(), []
    for size, axes in zip(shape, wanted, strict=True):
        names = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
        divides = size % math.prod(mesh.shape[name] for name in names) == 0
        kept = divides and used.isdisjoint(names)
        used.update(names if kept else ())
        spec.append(axes if kept else None)
    return x.sharding.update(spec=PartitionSpec(*spec))


def sharded(f: Callable, x: jax.Array, kernel: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Return `f(x, kernel)`, sharded inside by XLA, with the sharding of `output_sharding`."""
    aval = jax.typeof(x)
    if axes := _explicit_axes(aval):
        out = output_sharding(aval, jax.typeof(kernel), shape)
        f = jax.sharding.auto_axes(f, axes=axes, out_sharding=out)
    return f(x, kernel)


def may_split_space(x: ShapedArray, partitioned: bool) -> bool:
    """Return whether a spatial axis of a canonical input may be split over devices.

    Args:
      x: the type of the input.
      partitioned: whether XLA partitions the program over several devices.
    """
    if _explicit_axes(x):
        return any(axes is not None for axes in _spec(x)[2:-2])
    return partitioned


def reshard_like(array: jax.Array, aval: ShapedArray) -> jax.Array:
    """Return a cotangent with the sharding of its primal."""
    return jax.sharding.reshard(array, aval.sharding) if _explicit_axes(aval) else array


def _explicit_axes(aval: ShapedArray) -> tuple[str, ...]:
    mesh = aval.sharding.mesh
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return tuple(name for name, kind in kinds if kind == AxisType.Explicit)


def _spec(aval: ShapedArray) -> tuple:
    spec = aval.sharding.spec
    return (*spec, *(None,) * (aval.ndim - len(spec)))
