"""Small layers of every kind, for tests of the benchmark."""

import pytest

from jconv.bench.layers import dense, depthwise, signal, transposed

SMALL_LAYERS = (
    dense("strided", 2, 9, 3, 4, 6, stride=2),
    dense("valid", 2, 9, 3, 4, 6, stride=2, padding="VALID"),
    dense("not square", 2, 7, (1, 5), 4, 6),
    dense("groups", 2, 7, 3, 4, 6, groups=2),
    depthwise("depthwise", 2, 7, 3, 5, stride=2),
    transposed("transposed", 2, 5, 4, 3),
    dense("dilated signal", 2, 20, (2,), 4, 6, dilation=5, padding="CAUSAL"),
    signal("long filter", 1, 12, 12, 3),
    dense("volume", 1, 5, (3, 3, 3), 2, 4),
    dense("kernels", 2, 6, 3, 4, 5, kernels=3),
    dense("examples", 3, 6, 3, 2, 4, per_example_gradients=True),
)
every_small_layer = pytest.mark.parametrize("layer", SMALL_LAYERS, ids=lambda layer: layer.name)
