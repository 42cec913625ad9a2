"""Published and random layers of the benchmark."""

import pytest

from jconv.bench.layers import LAYERS, choose_layers
from jconv.bench.random_layers import KINDS, random_layers


def test_published_layers_are_unique_and_quick_covers_every_kind():
    assert len(LAYERS) >= 40
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
    quick = choose_layers(quick=True)
    assert {layer.kind for layer in quick} == {layer.kind for layer in LAYERS}
    assert {layer.kind for layer in choose_layers("depthwise")} == {"depthwise"}


def test_an_unknown_name_raises_unless_empty_is_allowed():
    with pytest.raises(ValueError, match=r"`--only` must be part of a layer's name .*hexagonal"):
        choose_layers("hexagonal")
    assert choose_layers("hexagonal", allow_empty=True) == ()


def test_multiply_adds_of_a_published_layer():
    (layer,) = choose_layers("googlenet conv2")
    assert layer.multiply_adds == layer.x[0] * 56 * 56 * 9 * 64 * 192


def test_random_layers_are_reproducible_and_cover_every_kind():
    first, second = random_layers(3), random_layers(3)
    drawn = [next(first) for _ in KINDS]
    assert drawn == [next(second) for _ in KINDS]
    assert [layer.kind for layer in drawn] == list(KINDS)
