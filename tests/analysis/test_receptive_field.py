import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from PIL import Image

from jconv import nn
from jconv.analysis import receptive_field, summarize
from jconv.nn.interception import eval_view


def rngs():
    return nnx.Rngs(0)


def test_gradient_of_linear_convolutions_fills_the_theoretical_field():
    # 3x3, then 5x3 at every second pixel: (5 - 1) * 1 + 3 rows; then one in two, 3x3 again.
    net = nn.Sequential(
        [
            nn.Conv(3, 4, (3, 3), rngs=rngs()),
            nn.Conv(4, 4, (5, 3), 2, padding=((2, 2), (1, 1)), rngs=rngs()),
            nn.Conv(4, 2, (3, 3), rngs=rngs()),
        ]
    )
    field = receptive_field(net, (31, 29, 3))
    assert [(layer.name, layer.size) for layer in field.layers] == [
        ("layers.0", (3, 3)),
        ("layers.1", (7, 5)),
        ("layers.2", (11, 9)),
    ]
    assert field.layer == "layers.2" and field.size == (11, 9)
    rows, columns = np.nonzero(field.gradient)
    assert ((rows.min(), rows.max()), (columns.min(), columns.max())) == field.window
    # The middle output, (8, 7) of 16x15, has pixel (16, 14) in its middle.
    assert field.window == ((11, 21), (10, 18))
    assert field.gradient.max() == 1


def test_field_of_branches_is_their_union():
    net = nn.ParallelConv(
        3,
        [nn.Branch(width=2, kernel_size=1), nn.Branch(width=2, kernel_size=3, kernel_dilation=4)],
        rngs=rngs(),
    )
    field = receptive_field(net, (21, 21, 3), "concatenate")
    assert field.size == (9, 9)
    assert field.layer == "concatenate"
    # Taps are 4 pixels apart, and the derivative between them is zero.
    assert np.count_nonzero(field.gradient) == 9


def test_effective_field_of_a_deep_network_is_smaller():
    net = nn.Sequential([nn.Conv(4, 4, (3, 3), rngs=rngs()) for _ in range(12)])
    field = receptive_field(net, (41, 41, 4))
    assert field.size == (25, 25)
    assert 3 < field.effective_side < 20


def test_fields_larger_than_the_input_are_marked():
    net = nn.Sequential([nn.Conv(1, 2, (5, 5), rngs=rngs()), nn.Conv(2, 2, (5, 5), rngs=rngs())])
    field = receptive_field(net, (8, 12, 1))
    assert [layer.exceeds_input for layer in field.layers] == [False, True]
    assert repr(field).count("larger than the input") == 1


def test_repr_is_a_table_with_a_title():
    net = nn.Sequential([nn.Conv(1, 2, (5, 5), rngs=rngs()), nn.Conv(2, 2, (3, 5), rngs=rngs())])
    field = receptive_field(net, (8, 12, 1))
    side = f"{field.effective_side:.0f}"
    title, _, header, _, *rows = repr(field).splitlines()
    assert title == f"layers.1: receptive field 7x9 pixels, effective {side}x{side}"
    assert header.split() == ["layer", "receptive", "field"]
    assert [row.split() for row in rows] == [["layers.0", "5x5"], ["layers.1", "7x9"]]


def test_html_holds_the_same_table():
    html = receptive_field(nn.Conv(1, 2, (5, 3), rngs=rngs()), (8, 12, 1))._repr_html_()
    assert html.startswith("<pre ") and html.count("5x3") == 2


def test_save_draws_an_image(tmp_path):
    receptive_field(nn.Conv(1, 2, (5, 5), rngs=rngs()), (8, 12, 1)).save(tmp_path / "field.png")
    with Image.open(tmp_path / "field.png") as image:
        assert image.size == (720, 648)


def test_layer_must_have_a_local_field():
    net = nn.Sequential([nn.Conv(1, 2, (5, 5), rngs=rngs()), nn.GlobalAveragePool()])
    for layer in ("layers.1", "layers.7"):
        with pytest.raises(ValueError, match=r"`layer` must be .*one of \['layers.0'\]"):
            receptive_field(net, (8, 8, 1), layer)


class WithFunction(nnx.Module):
    """A 3x3 convolution, a function that is not a layer, and a 1x1 convolution."""

    def __init__(self, function, features=4):
        self.conv, self.function = nn.Conv(3, 4, (3, 3), rngs=rngs()), function
        self.last = nn.Conv(features, 2, (1, 1), rngs=rngs())

    def __call__(self, x):
        return self.last(self.function(self.conv(x)))


def local(**options):
    return nn.LocalConv(3, 2, (3, 3), (17, 15), **options, rngs=rngs())


LOCAL = {
    "diverse branches": lambda: nn.DiverseBranchBlock(3, 4, rngs=rngs()),
    "diverse branches, strided": lambda: nn.DiverseBranchBlock(3, 4, 5, 2, rngs=rngs()),
    "three branches": lambda: nn.RepVGGBlock(3, 4, 2, rngs=rngs()),
    **{
        f"{mode} border": lambda mode=mode: nn.Conv(3, 4, (5, 5), padding_mode=mode, rngs=rngs())
        for mode in ("circular", "reflect", "replicate")
    },
    "Flax's circular border": lambda: nnx.Conv(3, 4, (5, 5), padding="CIRCULAR", rngs=rngs()),
    "even circular border": lambda: nn.Conv(
        3, 4, (4, 2), 2, padding_mode="circular", kernel_dilation=2, rngs=rngs()
    ),
    "unshared": lambda: local(padding="VALID"),
    "unshared, strided": lambda: local(strides=2, padding=((2, 1), (0, 1)), kernel_dilation=2),
    "unshared, circular": lambda: local(padding="SAME", padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose(3, 4, (4, 4), 2, rngs=rngs()),
    "bands": lambda: nn.Sequential(
        [nn.InceptionDepthwise(3, 3, 7, ratio=1 / 3, rngs=rngs()), nn.AvgPool((1, 1))]
    ),
    "inception": lambda: nn.Inception(3, 1, (1, 2), (1, 2), 1, rngs=rngs()),
    "pooled": lambda: nn.Sequential(
        [nn.Conv(3, 4, (3, 3), rngs=rngs()), nn.AvgPool((3, 2), (2, 1), "SAME")]
    ),
}

# Functions between two layers that preserve spatial axes, with their number of output channels.
PRESERVING = {
    "strided slice": (4, lambda x: x[:, ::2, 1:-3:3]),
    "padded": (4, lambda x: jnp.pad(x, [(0, 0), (3, 0), (1, 2), (0, 0)])),
    "cropped": (4, lambda x: lax.pad(x, 0.0, [(0, 0, 0), (-2, 1, 0), (1, -3, 0), (0, 0, 0)])),
    "interior padding": (
        4,
        lambda x: lax.pad(x, 0.0, [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 0, 0)]),
    ),
    "channels first": (4, lambda x: jnp.tanh(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)),
    "joined channels": (8, lambda x: jnp.concatenate([x[..., ::-1], jnp.cumsum(x, -1)], -1)),
    "selected channels": (3, lambda x: x[..., jnp.array([3, 0, 1])]),
    "sum of channels": (1, lambda x: jnp.sum(x, -1, keepdims=True)),
    "product with channels": (4, lambda x: jnp.einsum("nhwc,cd->nhwd", x, jnp.ones((4, 4)))),
    "product by channels": (4, lambda x: jnp.einsum("cd,nhwc->nhwd", jnp.ones((4, 4)), x)),
    "grouped channels": (2, lambda x: x.reshape(*x.shape[:3], 2, 2).sum(-1)),
    "within jit": (4, jax.jit(lambda x: x[:, 1:] + jnp.pad(x, [(0, 0)] * 4)[:, 1:])),
    "within remat": (4, jax.checkpoint(lambda x: jnp.tanh(x[:, :, 2:] / 100))),
}
# Functions after which every output depends on the whole input.
MIXING = {
    "mean": lambda x: x + x.mean((1, 2), keepdims=True),
    "product": lambda x: jnp.einsum("nhwc,hk,wl->nklc", x, jnp.ones((17, 17)), jnp.ones((15, 15))),
    "sums": lambda x: jnp.cumsum(jnp.cumsum(x, 1), 2) + x.sum((1, 2), keepdims=True),
    "reversed": lambda x: x[:, ::-1, ::-1] + x.sum((1, 2), keepdims=True),
    "attention": lambda x: jnp.einsum("nhwc,nklc,nkld->nhwd", x, x, x),
}
GLOBAL = {
    "squeeze and excite": lambda: nn.SqueezeExcite(3, 2, rngs=rngs()),
    "inverted residual with squeeze and excite": lambda: nn.InvertedResidual(
        3, 3, se_features=2, rngs=rngs()
    ),
    **{name: lambda f=function: WithFunction(f) for name, function in MIXING.items()},
}
LOCAL |= {name: lambda f=f, n=n: WithFunction(f, n) for name, (n, f) in PRESERVING.items()}


def last_layer(model):
    """Return the last layer; products outside of layers are listed after it."""
    layers = summarize(model, (17, 15, 3)).layers
    return [layer for layer in layers if layer.name != "elsewhere"][-1]


def nonzero_gradient(model, threshold=0.0):
    """Return the first and last pixel along each axis with a derivative of the central output.

    All weights are made positive, so no derivatives cancel. Derivatives up to `threshold` times the
    largest count as zero.
    """
    for _, value in nnx.iter_graph(model):
        if isinstance(value, nnx.Param):
            value.set_value(jnp.abs(value[...]) + 0.1)
    x = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1, (1, 17, 15, 3)), jnp.float32)

    @jax.jit
    def central_output(x):
        y = eval_view(model)(x)[0]
        return y[y.shape[0] // 2, y.shape[1] // 2].sum()

    gradient = np.abs(np.asarray(jax.grad(central_output)(x)[0])).sum(-1)
    axes = np.nonzero(gradient > threshold * gradient.max())
    return tuple((int(indices.min()), int(indices.max())) for indices in axes)


@pytest.mark.parametrize("make", LOCAL.values(), ids=LOCAL)
def test_theoretical_field_is_where_the_gradient_is_nonzero(make):
    model = make()
    last = last_layer(model)
    window = tuple(
        (field.jump * (n // 2) + field.low, field.jump * (n // 2) + field.high)
        for field, n in zip(last.fields, last.output_shape[:-1], strict=True)
    )
    # Algorithms that use transforms leave rounding errors where the derivative is zero.
    assert nonzero_gradient(model, threshold=1e-5) == tuple(
        (math.ceil(a), math.floor(b)) for a, b in window
    )


@pytest.mark.parametrize("make", GLOBAL.values(), ids=GLOBAL)
def test_operations_that_mix_all_of_space_have_a_global_field(make):
    model = make()
    assert last_layer(model).receptive_field == "all"
    assert nonzero_gradient(model) == ((0, 16), (0, 14))


def test_axes_of_one_pixel_keep_their_field():
    net = nn.Sequential(
        [nn.Conv(3, 4, (5, 1), padding="VALID", rngs=rngs()), nn.Conv(4, 2, (3, 3), rngs=rngs())]
    )
    for shape, expected in (((5, 1, 3), "7x3"), ((5, 6, 3), "7x3"), ((9, 1, 3), "7x3")):
        assert summarize(net, shape).layers[-1].receptive_field == expected
    assert math.prod(receptive_field(net, (5, 1, 3)).size) == 21
