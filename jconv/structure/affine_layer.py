"""Layers as an affine map followed by an activation, and their composition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.nn import Conv, Sequential
from jconv.structure.affine import Affine, NotMergeable, infer_dilation
from jconv.structure.dtypes import LayerDtypes, combine_dtypes, compose_dtypes
from jconv.structure.parallel import add_affine, concatenate_affine, split_affine
from jconv.structure.sequential import compose_affine, match_channels


@dataclass(frozen=True)
class AffineLayer:
    """A layer as `activation(affine(x))`.

    Attributes:
      affine: the convolution and its bias.
      activation: an elementwise function, or None.
      template: a convolution of the layer, whose precision the merged convolution takes; None if
        the layer has no convolution.
      dtypes: the computation dtypes; None for a layer that keeps the dtype of its input.
    """

    affine: Affine
    activation: Callable | None = None
    template: nnx.Conv | None = None
    dtypes: LayerDtypes | None = None


def compose(first: AffineLayer, second: AffineLayer) -> AffineLayer:
    """Return `second(first(x))` as one layer.

    Raises:
      NotMergeable: if it is not an affine map followed by an activation.
    """
    dtypes = compose_dtypes(first.dtypes, second.dtypes)
    template = common_template([first, second])
    affine, following = match_channels(first.affine, second.affine)
    if following.is_identity:
        activation = _compose_activations(first.activation, second.activation)
        return AffineLayer(affine, activation, template, dtypes)
    if first.activation is not None:
        raise NotMergeable(f"the activation {name_of(first.activation)} precedes it")
    return AffineLayer(compose_affine(affine, following), second.activation, template, dtypes)


def add(branches: Sequence[AffineLayer]) -> AffineLayer:
    """Return the sum of layers of one input as one layer.

    Raises:
      NotMergeable: if it is not an affine map.
    """
    if len(branches) > 1 and any(branch.activation is not None for branch in branches):
        raise NotMergeable("a branch of the sum ends in an activation")
    return _combine(branches, add_affine)


def concatenate(branches: Sequence[AffineLayer]) -> AffineLayer:
    """Return layers of one input, concatenated along the channels, as one layer.

    Raises:
      NotMergeable: if it is not an affine map followed by an activation.
    """
    return _combine(branches, concatenate_affine)


def split(branches: Sequence[AffineLayer]) -> AffineLayer:
    """Return layers of consecutive slices of the input channels, concatenated, as one layer.

    Raises:
      NotMergeable: if it is not an affine map followed by an activation.
    """
    return _combine(branches, split_affine)


def _combine(
    branches: Sequence[AffineLayer], combine_affine: Callable[[Sequence[Affine]], Affine]
) -> AffineLayer:
    if len(branches) == 1:
        return branches[0]
    if len({branch.activation for branch in branches}) > 1:
        raise NotMergeable("the branches end in different activations")
    dtypes = combine_dtypes([branch.dtypes for branch in branches])
    affine = combine_affine([branch.affine for branch in branches])
    return AffineLayer(affine, branches[0].activation, common_template(branches), dtypes)


def common_template(layers: Sequence[AffineLayer]) -> nnx.Conv | None:
    """Return a convolution that has the precision of all layers.

    Raises:
      NotMergeable: if the convolutions of the layers have different precisions.
    """
    templates = [layer.template for layer in layers if layer.template is not None]
    precisions = [template.precision for template in templates]
    if any(precision != precisions[0] for precision in precisions):
        raise NotMergeable(f"its convolutions have different precisions: {precisions}")
    return templates[0] if templates else None


def to_layer(layer: AffineLayer, algorithm) -> nnx.Module:
    """Return an affine layer as a `jconv.nn.Conv`, followed by its activation if it has one.

    Args:
      layer: an affine layer with a template and dtypes.
      algorithm: the algorithm of the convolution; `"auto"` replaces one that cannot compute it.
    """
    affine, template, dtypes = layer.affine, layer.template, layer.dtypes
    assert template is not None and dtypes is not None
    dilation = infer_dilation(affine.support)
    kernel = affine.kernel[tuple(slice(None, None, d) for d in dilation)]
    conv = Conv(
        affine.in_channels,
        affine.out_channels,
        kernel.shape[:-2],
        affine.stride,
        padding=affine.padding,
        padding_mode=affine.padding_mode,
        kernel_dilation=dilation,
        feature_group_count=affine.groups,
        use_bias=bool(affine.bias.any()),
        dtype=dtypes.dtype,
        param_dtype=dtypes.param_dtype,
        precision=template.precision,
        preferred_element_type=template.preferred_element_type,
        algorithm=algorithm,
        tolerance=getattr(template.conv_general_dilated, "tolerance", None),
        kernel_init=nnx.initializers.zeros,
        rngs=nnx.Rngs(0),
    )
    conv.kernel.set_value(jnp.asarray(kernel, conv.param_dtype))
    if conv.bias is not None:
        conv.bias.set_value(jnp.asarray(affine.bias, conv.param_dtype))
    if algorithm != "auto" and not _is_supported(conv):
        return to_layer(layer, "auto")
    return conv if layer.activation is None else Sequential([conv, layer.activation])


def _is_supported(conv: Conv) -> bool:
    """Return whether the algorithm of a convolution can compute it."""
    sizes = [taps + 32 for taps in conv.kernel_size]
    x = jax.ShapeDtypeStruct((1, *sizes, conv.in_features), jnp.float32)
    try:
        jax.eval_shape(lambda x: conv(x), x)
    except ValueError:
        return False
    return True


def _compose_activations(first: Callable | None, second: Callable | None) -> Callable | None:
    if first is None or second is None:
        return first or second
    return lambda x: second(first(x))


def name_of(function) -> str:
    """Return the name of a function or of an object's class."""
    return getattr(function, "__name__", None) or type(function).__name__
