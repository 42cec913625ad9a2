import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from PIL import Image
from rich.console import Console

from jconv import nn
from jconv.analysis import receptive_field, summarize
from jconv.nn.interception import eval_view


def rngs():
    return nnx.Rngs(0)


def test_linear_convolutions_look_at_all_they_see():
    # 3x3, then 5x3 at every second pixel: (5 - 1) * 1 + 3 rows; then one in two, 3x3 again.
    net = nn.Sequential(
        [
            nn.Conv(3, 4, (3, 3), rngs=rngs()),
            nn.Conv(4, 4, (5, 3), 2, padding=((2, 2), (1, 1)), rngs=rngs()),
            nn.Conv(4, 2, (3, 3), rngs=rngs()),
        ]
    )
    found = receptive_field(net, (31, 29, 3))
    assert [(own.name, own.size) for own in found.layers] == [
        ("layers.0", (3, 3)),
        ("layers.1", (7, 5)),
        ("layers.2", (11, 9)),
    ]
    assert found.layer == "layers.2" and found.size == (11, 9)
    rows, columns = np.nonzero(found.gradient)
    assert ((rows.min(), rows.max()), (columns.min(), columns.max())) == found.window
    # The middle output, (8, 7) of 16x15, has pixel (16, 14) in its middle.
    assert found.window == ((11, 21), (10, 18))
    assert found.gradient.max() == 1


def test_through_branches_it_is_the_union():
    net = nn.ParallelConv(
        3, [nn.Branch(width=2, kernel=1), nn.Branch(width=2, kernel=3, dilation=4)], rngs=rngs()
    )
    found = receptive_field(net, (21, 21, 3), "concatenate")
    assert found.size == (9, 9)
    assert found.layer == "concatenate"
    # Taps are 4 apart: between them nothing is looked at.
    assert np.count_nonzero(found.gradient) == 9


def test_deep_networks_look_at_less_than_they_see():
    net = nn.Sequential([nn.Conv(4, 4, (3, 3), rngs=rngs()) for _ in range(12)])
    found = receptive_field(net, (41, 41, 4))
    assert found.size == (25, 25)
    assert 3 < found.effective_side < 20


def test_layers_that_see_more_than_there_is_are_pointed_out(tmp_path):
    net = nn.Sequential([nn.Conv(1, 2, (5, 5), rngs=rngs()), nn.Conv(2, 2, (5, 5), rngs=rngs())])
    found = receptive_field(net, (8, 12, 1))
    assert [own.exceeds for own in found.layers] == [False, True]
    console = Console(file=io.StringIO(), width=100)
    console.print(found)
    assert console.file.getvalue().count("more than the input has") == 1
    found.save(tmp_path / "field.png")
    with Image.open(tmp_path / "field.png") as image:
        assert image.size == (720, 648)


def test_no_such_layer():
    net = nn.Sequential([nn.Conv(1, 2, (5, 5), rngs=rngs()), nn.GlobalAveragePool()])
    for layer in ("layers.1", "layers.7"):
        with pytest.raises(ValueError, match=r"`layer` must be one of .*\['layers.0'\]"):
            receptive_field(net, (8, 8, 1), layer)


class Then(nnx.Module):
    """A 3x3 convolution, a function that is no layer, and a layer that sees what it gives."""

    def __init__(self, function, features=4):
        self.conv, self.function = nn.Conv(3, 4, (3, 3), rngs=rngs()), function
        self.last = nn.Conv(features, 2, (1, 1), rngs=rngs())

    def __call__(self, x):
        return self.last(self.function(self.conv(x)))


def local(**options):
    return nn.LocalConv(3, 2, (3, 3), (17, 15), **options, rngs=rngs())


PLACED = {
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
    "unshared": lambda: local(),
    "unshared, strided": lambda: local(strides=2, padding=((2, 1), (0, 1)), dilation=2),
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

# Functions between two layers: those that keep the field in its place, by the channels they leave,
KEEPING = {
    "every second": (4, lambda x: x[:, ::2, 1:-3:3]),
    "padded": (4, lambda x: jnp.pad(x, [(0, 0), (3, 0), (1, 2), (0, 0)])),
    "cropped": (4, lambda x: lax.pad(x, 0.0, [(0, 0, 0), (-2, 1, 0), (1, -3, 0), (0, 0, 0)])),
    "spread": (4, lambda x: lax.pad(x, 0.0, [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 0, 0)])),
    "channels first": (4, lambda x: jnp.tanh(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)),
    "joined channels": (8, lambda x: jnp.concatenate([x[..., ::-1], jnp.cumsum(x, -1)], -1)),
    "picked channels": (3, lambda x: x[..., jnp.array([3, 0, 1])]),
    "sum of channels": (1, lambda x: jnp.sum(x, -1, keepdims=True)),
    "product with channels": (4, lambda x: jnp.einsum("nhwc,cd->nhwd", x, jnp.ones((4, 4)))),
    "product by channels": (4, lambda x: jnp.einsum("cd,nhwc->nhwd", jnp.ones((4, 4)), x)),
    "grouped channels": (2, lambda x: x.reshape(*x.shape[:3], 2, 2).sum(-1)),
    "within jit": (4, jax.jit(lambda x: x[:, 1:] + jnp.pad(x, [(0, 0)] * 4)[:, 1:])),
    "within remat": (4, jax.checkpoint(lambda x: jnp.tanh(x[:, :, 2:] / 100))),
}
# and those after which everything is seen.
MIXING = {
    "mean": lambda x: x + x.mean((1, 2), keepdims=True),
    "product": lambda x: jnp.einsum("nhwc,hk,wl->nklc", x, jnp.ones((17, 17)), jnp.ones((15, 15))),
    "sums": lambda x: jnp.cumsum(jnp.cumsum(x, 1), 2) + x.sum((1, 2), keepdims=True),
    "turned round": lambda x: x[:, ::-1, ::-1] + x.sum((1, 2), keepdims=True),
    "attention": lambda x: jnp.einsum("nhwc,nklc,nkld->nhwd", x, x, x),
}
EVERYWHERE = {
    "squeeze and excite": lambda: nn.SqueezeExcite(3, 2, rngs=rngs()),
    "its block": lambda: nn.InvertedResidual(3, 3, squeezed=2, rngs=rngs()),
    **{name: lambda f=function: Then(f) for name, function in MIXING.items()},
}
PLACED |= {name: lambda f=f, n=n: Then(f, n) for name, (n, f) in KEEPING.items()}


def last_layer(model):
    """The last that is one: products of functions between layers are listed after it."""
    return [own for own in summarize(model, (17, 15, 3)).layers if own.name != "elsewhere"][-1]


def looked_at(model):
    """The first and last pixel along each axis that the middle output has a derivative in.

    All weights are positive, so that nothing cancels.
    """
    for _, value in nnx.iter_graph(model):
        if isinstance(value, nnx.Param):
            value.set_value(jnp.abs(value[...]) + 0.1)
    x = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1, (1, 17, 15, 3)), jnp.float32)

    @jax.jit
    def middle(x):
        y = eval_view(model)(x)[0]
        return y[y.shape[0] // 2, y.shape[1] // 2].sum()

    seen = np.nonzero(np.abs(np.asarray(jax.grad(middle)(x)[0])).sum(-1))
    return tuple((int(places.min()), int(places.max())) for places in seen)


@pytest.mark.parametrize("make", PLACED.values(), ids=PLACED)
def test_the_theoretical_field_is_what_has_a_derivative(make):
    model = make()
    last = last_layer(model)
    window = tuple(
        (own.jump * (n // 2) + own.low, own.jump * (n // 2) + own.high)
        for own, n in zip(last.fields, last.output_shape[:-1], strict=True)
    )
    assert looked_at(model) == tuple((math.ceil(a), math.floor(b)) for a, b in window)


@pytest.mark.parametrize("make", EVERYWHERE.values(), ids=EVERYWHERE)
def test_what_mixes_all_of_space_sees_everything(make):
    model = make()
    assert last_layer(model).receptive_field == "all"
    assert looked_at(model) == ((0, 16), (0, 14))


def test_maps_of_one_pixel_keep_their_field():
    net = nn.Sequential(
        [nn.Conv(3, 4, (5, 1), padding="VALID", rngs=rngs()), nn.Conv(4, 2, (3, 3), rngs=rngs())]
    )
    for shape, expected in (((5, 1, 3), "7x3"), ((5, 6, 3), "7x3"), ((9, 1, 3), "7x3")):
        assert summarize(net, shape).layers[-1].receptive_field == expected
    assert math.prod(receptive_field(net, (5, 1, 3)).size) == 21
