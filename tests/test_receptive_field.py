import io

import numpy as np
import pytest
from flax import nnx
from PIL import Image
from rich.console import Console

from jconv import nn
from jconv.analysis import receptive_field


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
