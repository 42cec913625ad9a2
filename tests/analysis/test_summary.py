import io

import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

import jconv
from jconv.analysis import summarize


def rows(summary):
    return {
        row["name"]: (row["output_shape"], row["parameters"], row["multiply_adds"],
                      row["receptive_field"], row["connected_to"])
        for row in summary.as_rows()
    }  # fmt: skip


def test_parallel_net():
    net = jconv.models.ParallelNet(blocks=({1: 2, 5: 3}, {3: 4}), dropout=0.5, rngs=nnx.Rngs(0))
    table = rows(summarize(net, (8, 8, 1)))
    # From the formulas: k * k * in * out + out, and h * w * k * k * in * out.
    assert table["blocks.0.branches.0"] == ((8, 8, 2), 4, 128, "1x1", ["input"])
    assert table["blocks.0.branches.1"] == ((8, 8, 3), 78, 4800, "5x5", ["input"])
    branches = ["blocks.0.branches.0", "blocks.0.branches.1"]
    assert table["blocks.0.concatenate"] == ((8, 8, 5), 0, 0, "5x5", branches)
    assert table["pools.0"] == ((4, 4, 5), 0, 0, "6x6", ["blocks.0.concatenate"])
    # Neighbours in the pooled map are two pixels apart in the image: 6 + 2 * 2.
    assert table["blocks.1.branches.0"] == ((4, 4, 4), 184, 2880, "10x10", ["pools.0"])
    assert table["dense"] == ((10,), 170, 160, "all", ["dropout"])


class Residual(nnx.Module):
    """Flax layers, a skip connection, functions between layers, and a parameter outside of them."""

    def __init__(self, rngs):
        self.first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.second = jconv.nn.Conv(4, 4, (3, 3), strides=2, kernel_dilation=2, rngs=rngs)
        self.scale = nnx.Param(jnp.ones((4, 4)))
        self.unused = nnx.Linear(7, 7, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.first(x)))
        x = nnx.avg_pool(x, (2, 2), (2, 2)) + nnx.max_pool(x, (4, 4), (2, 2), "SAME")
        x = x + self.second(x).mean()
        return x @ self.scale[...]


def test_module_of_flax_layers():
    model = Residual(nnx.Rngs(0))
    table = rows(summarize(model, (16, 16, 3)))
    assert table["first"] == ((16, 16, 4), 112, 16 * 16 * 9 * 3 * 4, "3x3", ["input"])
    assert table["norm"] == ((16, 16, 4), 8, 0, "3x3", ["first"])
    # The pools have windows of 2x2 and 4x4 at a stride of 2; the kernel spans 5 of their pixels.
    assert table["second"] == ((4, 4, 4), 148, 4 * 4 * 9 * 4 * 4, "14x14", ["norm"])
    assert table["elsewhere"][:3] == ((), 16 + 56, 8 * 8 * 4 * 4)


class Shared(nnx.Module):
    """One layer that is called twice, and a layer with two inputs."""

    def __init__(self, rngs):
        self.conv = jconv.nn.Conv(4, 4, (3, 3), use_bias=False, rngs=rngs)
        self.join = jconv.nn.Concatenate()

    def __call__(self, x):
        return self.join([x, self.conv(self.conv(x))])


def test_layer_that_is_called_twice_has_its_parameters_once():
    layers = summarize(Shared(nnx.Rngs(0)), (8, 8, 4)).layers
    found = [(layer.name, layer.parameters, layer.receptive_field) for layer in layers]
    assert found == [
        ("input", 0, "1x1"),
        ("conv", 144, "3x3"),
        ("conv", 0, "5x5"),
        ("join", 0, "5x5"),
    ]
    assert layers[-1].connected_to == ["input", "conv"]


def test_layer_classes_are_unchanged_after_tracing():
    calls = {cls: vars(cls).get("__call__") for cls in (nnx.Conv, jconv.nn.Conv, Residual)}
    summarize(Residual(nnx.Rngs(0)), (16, 16, 3))
    assert calls == {cls: vars(cls).get("__call__") for cls in calls}
    y = Residual(nnx.Rngs(0))(jnp.ones((1, 16, 16, 3)))
    assert np.isfinite(y).all()


def test_jconv_and_lax_convolutions_have_the_same_summary():
    ours = summarize(jconv.nn.Conv(4, 8, (3, 2), (2, 1), rngs=nnx.Rngs(0)), (9, 9, 4))
    theirs = summarize(nnx.Conv(4, 8, (3, 2), (2, 1), rngs=nnx.Rngs(0)), (9, 9, 4))
    assert rows(ours) == rows(theirs)


def test_input_dilation_costs_only_what_meets_a_pixel():
    layer = jconv.nn.Conv(2, 3, (4, 4), input_dilation=2, padding=2, rngs=nnx.Rngs(0))
    # 12x12 outputs, each of which meets every second tap along both axes.
    assert summarize(layer, (6, 6, 2)).multiply_adds == 12 * 12 * 2 * 2 * 2 * 3


def test_to_depth_merges_rows_and_keeps_the_totals():
    net = jconv.models.ParallelNet(rngs=nnx.Rngs(0))
    summary = summarize(net, (8, 8, 1))
    merged = summary.to_depth(1)
    table = rows(merged)
    assert list(table) == ["input", "blocks", "pools", "flatten", "dropout", "dense"]
    assert table["blocks"] == ((4, 4, 64), 22_976, 382_976, "14x14", ["input", "pools"])
    assert (merged.parameters, merged.multiply_adds) == (summary.parameters, summary.multiply_adds)


def test_table_fits_a_terminal_of_80_columns():
    console = Console(width=80, file=io.StringIO())
    net = jconv.models.ParallelNet(rngs=nnx.Rngs(0))
    with console.capture() as capture:
        console.print(summarize(net, (8, 8, 1)))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "blocks.1.branches.2" in text and "385,536" in text and "25,546" in text


def test_repr_is_a_table():
    summary = summarize(jconv.nn.Conv(3, 8, (5, 3), rngs=nnx.Rngs(0)), (9, 9, 3))
    header, _, _, kind, row, conv, _, total, caption = repr(summary).splitlines()
    assert header.split()[:4] == ["layer", "output", "parameters", "multiply-adds"]
    assert kind.split() == ["Input"] and conv.split() == ["Conv", "5x3"]
    assert row.split() == ["model", "9x9x8", "368", "29,160", "5x3", "input"]
    assert total.split() == ["total", "368", "29,160"]
    assert caption == "field: receptive field on the input, in pixels"


def test_html_holds_the_same_table():
    html = summarize(jconv.nn.Conv(3, 8, (5, 3), rngs=nnx.Rngs(0)), (9, 9, 3))._repr_html_()
    assert html.startswith("<pre ")
    assert all(text in html for text in ("multiply-adds", "Conv 5x3", "9x9x8", "29,160", "total"))


def test_options_stand_below_the_table():
    summary = summarize(jconv.nn.Conv(3, 8, (1, 1), rngs=nnx.Rngs(0)), (9, 9, 3))
    made = type(summary)(summary.layers, 32, 1944, build_options={"origin": "[torch]"})
    assert repr(made).splitlines()[-1].split() == ["options:", "origin='[torch]'"]
