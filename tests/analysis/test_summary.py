import io

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

import jconv
from jconv.analysis import summarize
from jconv.cli import main


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
    # Two pixels of the pooled map are two apart in the image: 6 + 2 * 2.
    assert table["blocks.1.branches.0"] == ((4, 4, 4), 184, 2880, "10x10", ["pools.0"])
    assert table["dense"] == ((10,), 170, 160, "all", ["dropout"])


class Residual(nnx.Module):
    """Layers from Flax, a skip connection, functions between, a parameter of its own."""

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


def test_any_module_of_flax():
    model = Residual(nnx.Rngs(0))
    table = rows(summarize(model, (16, 16, 3)))
    assert table["first"] == ((16, 16, 4), 112, 16 * 16 * 9 * 3 * 4, "3x3", ["input"])
    assert table["norm"] == ((16, 16, 4), 8, 0, "3x3", ["first"])
    # The pools see 2x2 and 4x4 at a stride of 2; the kernel spans 5 of their pixels.
    assert table["second"] == ((4, 4, 4), 148, 4 * 4 * 9 * 4 * 4, "14x14", ["norm"])
    assert table["elsewhere"][:3] == ((), 16 + 56, 8 * 8 * 4 * 4)


def test_classes_are_left_as_they_were():
    own = {cls: vars(cls).get("__call__") for cls in (nnx.Conv, jconv.nn.Conv, Residual)}
    summarize(Residual(nnx.Rngs(0)), (16, 16, 3))
    assert own == {cls: vars(cls).get("__call__") for cls in own}
    y = Residual(nnx.Rngs(0))(jnp.ones((1, 16, 16, 3)))
    assert np.isfinite(y).all()


def test_the_same_with_laxs_convolution():
    ours = summarize(jconv.nn.Conv(4, 8, (3, 2), (2, 1), rngs=nnx.Rngs(0)), (9, 9, 4))
    theirs = summarize(nnx.Conv(4, 8, (3, 2), (2, 1), rngs=nnx.Rngs(0)), (9, 9, 4))
    assert rows(ours) == rows(theirs)


def test_input_dilation_costs_only_what_meets_a_pixel():
    layer = jconv.nn.Conv(2, 3, (4, 4), input_dilation=2, padding=2, rngs=nnx.Rngs(0))
    # 12x12 outputs, each of which meets every second tap along both axes.
    assert summarize(layer, (6, 6, 2)).multiply_adds == 12 * 12 * 2 * 2 * 2 * 3


def test_the_table_fits_a_terminal():
    console = Console(width=80, file=io.StringIO())
    net = jconv.models.ParallelNet(rngs=nnx.Rngs(0))
    with console.capture() as capture:
        console.print(summarize(net, (8, 8, 1)))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "blocks.1.branches.2" in text and "385,536" in text and "25,546" in text


@pytest.fixture
def printed(monkeypatch, capsys):
    """Calls `jconv summary` in a terminal of 80 columns; returns what it prints, line by line."""

    def call(*words):
        monkeypatch.setenv("COLUMNS", "80")
        assert main(["summary", *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        return lines

    return call


def row_of(lines, name):
    """The words of a layer's row."""
    return next(words for line in lines if (words := line.split()) and words[0] == name)


def test_the_command_on_a_published_network(printed):
    lines = printed("googlenet")
    assert row_of(lines, "conv1")[1:4] == ["112x112x64", "9,536", "118,013,952"]
    # 192 channels to 64; 96, 128 of 3x3; 16, 32 of 3x3; 32: 155,136 weights, and 736 of norms.
    assert row_of(lines, "inception3a")[1:5] == ["28x28x256", "155,872", "121,626,624", "43x43"]
    assert row_of(lines, "pool")[-2:] == ["all", "inception5b"]
    assert row_of(lines, "total")[1:] == ["6,624,904", "1,498,376,192"]
    assert any("batch_norm=True" in line for line in lines)


def test_the_command_at_another_size_and_depth(printed, capsys):
    lines = printed("googlenet", "--size", "65", "--depth", "2")
    assert row_of(lines, "conv1.conv")[1] == "33x33x64"
    assert row_of(lines, "conv1.norm")[-1] == "conv"
    assert row_of(lines, "inception5b.join")[1] == "2x2x1024"
    assert main(["summary", "googlenet", "--size", "14"]) == 2
    assert "`--size` must be at least 15 for googlenet. Received: 14." in capsys.readouterr().err


def test_the_command_tells_the_origin(printed):
    assert any("origin='tensorflow'" in line for line in printed("efficientnet_lite0"))
