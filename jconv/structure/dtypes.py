"""In what numbers layers compute: what takes their place must give the dtype that they gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jconv.structure.affine import NotMergeable


@dataclass(frozen=True)
class Numerics:
    """In what numbers a layer with parameters computes.

    Attributes:
      dtype: that was asked for; None for what its input and its parameters promote to.
      param_dtype: what its parameters promote to.
    """

    dtype: jnp.dtype | None
    param_dtype: jnp.dtype

    @classmethod
    def of(cls, layer: nnx.Conv | nnx.BatchNorm, parameters: Sequence) -> Numerics:
        """Of a layer with parameters, some of which may be None.

        Raises:
          NotMergeable: where it converts numbers in a way of its own.
        """
        if layer.promote_dtype is not promote_dtype:
            raise NotMergeable("its `promote_dtype` is its own, so what it computes in is unknown")
        dtype = None if layer.dtype is None else jnp.dtype(layer.dtype)
        result = getattr(layer, "preferred_element_type", None)
        if result is not None and dtype != result:
            raise NotMergeable(
                f"its `preferred_element_type` is {jnp.dtype(result)} and its dtype {dtype}: how "
                f"it rounds depends on where its bias is added"
            )
        owns = (parameter.dtype for parameter in parameters if parameter is not None)
        return cls(dtype, jnp.dtype(jnp.result_type(*owns)))

    def after(self, dtype: jnp.dtype) -> jnp.dtype:
        """The dtype of the output for an input of `dtype`."""
        return self.dtype or jnp.promote_types(dtype, self.param_dtype)

    def __str__(self) -> str:
        return str(self.dtype or f"what {self.param_dtype} and their input promote to")


def numerics_in_turn(first: Numerics | None, second: Numerics | None) -> Numerics | None:
    """Of one after another; None for what keeps the dtype of its input.

    Raises:
      NotMergeable: where they compute in different ones.
    """
    if first is None or second is None:
        return first or second
    between = first.dtype or first.param_dtype
    follow = first.dtype is None and second.dtype is None
    if not follow and second.after(between) != between:
        raise NotMergeable(
            f"it computes in {second.after(between)}, what comes before it in {between}"
        )
    widest = jnp.promote_types(first.param_dtype, second.param_dtype)
    return Numerics(first.dtype or second.dtype, widest)


def numerics_beside(each: Sequence[Numerics | None]) -> Numerics | None:
    """Of side by side.

    Raises:
      NotMergeable: where they compute in different ones.
    """
    found = [one for one in each if one is not None]
    if not found:
        return None
    asked = {one.dtype for one in found}
    # What keeps its input's dtype goes with those whose dtype follows the input's too.
    if len(asked) > 1 or (asked != {None} and len(found) < len(each)):
        names = "; ".join(str(one or "that of their input") for one in each)
        raise NotMergeable(f"its branches compute in different dtypes: {names}")
    return replace(found[0], param_dtype=jnp.result_type(*(one.param_dtype for one in found)))
