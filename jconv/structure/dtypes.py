"""Computation dtypes of layers: a merged layer must return the dtype of the layers it replaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype

from jconv.structure.affine import NotMergeable


@dataclass(frozen=True)
class LayerDtypes:
    """Computation dtype of a layer with parameters.

    Attributes:
      dtype: the `dtype` argument of the layer; None for the dtype that its input and its parameters
        promote to.
      param_dtype: the dtype that its parameters promote to.
    """

    dtype: jnp.dtype | None
    param_dtype: jnp.dtype

    @classmethod
    def from_layer(cls, layer: nnx.Conv | nnx.BatchNorm, parameters: Sequence) -> LayerDtypes:
        """Return the dtypes of a layer with parameters, some of which may be None.

        Raises:
          NotMergeable: if its computation dtype is unknown or differs from its result's.
        """
        if layer.promote_dtype is not promote_dtype:
            raise NotMergeable(
                "it has a custom `promote_dtype`, so its computation dtype is unknown"
            )
        dtype = None if layer.dtype is None else jnp.dtype(layer.dtype)
        result = getattr(layer, "preferred_element_type", None)
        if result is not None and dtype != result:
            raise NotMergeable(
                f"its `preferred_element_type` is {jnp.dtype(result)} and its `dtype` {dtype}, so "
                f"its rounding depends on where the bias is added"
            )
        dtypes = (parameter.dtype for parameter in parameters if parameter is not None)
        return cls(dtype, jnp.dtype(jnp.result_type(*dtypes)))

    def output_dtype(self, input_dtype: jnp.dtype) -> jnp.dtype:
        """Return the dtype of the output."""
        return self.dtype or jnp.promote_types(input_dtype, self.param_dtype)

    def __str__(self) -> str:
        return str(self.dtype or f"the dtype that {self.param_dtype} and the input promote to")


def compose_dtypes(first: LayerDtypes | None, second: LayerDtypes | None) -> LayerDtypes | None:
    """Return the dtypes of consecutive layers; None stands for layers that keep the input's dtype.

    Raises:
      NotMergeable: if they compute in different dtypes.
    """
    if first is None or second is None:
        return first or second
    between = first.dtype or first.param_dtype
    both_promote = first.dtype is None and second.dtype is None
    if not both_promote and second.output_dtype(between) != between:
        raise NotMergeable(
            f"it computes in {second.output_dtype(between)} and the preceding layer in {between}"
        )
    param_dtype = jnp.promote_types(first.param_dtype, second.param_dtype)
    return LayerDtypes(first.dtype or second.dtype, param_dtype)


def combine_dtypes(branches: Sequence[LayerDtypes | None]) -> LayerDtypes | None:
    """Return the dtypes of parallel layers; None stands for layers that keep the input's dtype.

    Raises:
      NotMergeable: if they compute in different dtypes.
    """
    layers = [branch for branch in branches if branch is not None]
    if not layers:
        return None
    requested = {layer.dtype for layer in layers}
    # A branch that keeps the input's dtype can be merged only with branches that promote it.
    keeps_input_dtype = len(layers) < len(branches)
    if len(requested) > 1 or (requested != {None} and keeps_input_dtype):
        names = "; ".join(str(branch or "the dtype of the input") for branch in branches)
        raise NotMergeable(f"the branches compute in different dtypes: {names}")
    return replace(layers[0], param_dtype=jnp.result_type(*(layer.param_dtype for layer in layers)))
