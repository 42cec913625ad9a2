import pytest
from flax import nnx

import jconv
from jconv.analysis import summarize


@pytest.mark.parametrize("k, channels, out", [(3, 32, 64), (5, 16, 128), (7, 8, 8)])
def test_cost_relative_to_a_dense_convolution(k, channels, out):
    """The ratio is 1 / out + 1 / k**2, for parameters and for multiply-adds."""
    dense = jconv.nn.Conv(channels, out, (k, k), use_bias=False, rngs=nnx.Rngs(0))
    separable = jconv.nn.SeparableConv(channels, out, (k, k), use_bias=False, rngs=nnx.Rngs(0))
    shape = (14, 14, channels)
    dense, separable = summarize(dense, shape), summarize(separable, shape)
    saving = 1 / out + 1 / k**2
    assert separable.parameters / dense.parameters == pytest.approx(saving, rel=1e-12)
    assert separable.multiply_adds / dense.multiply_adds == pytest.approx(saving, rel=1e-12)
