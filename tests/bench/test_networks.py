"""Whole networks of the benchmark."""

import json

import jax
import numpy as np
import pytest

import jconv
from jconv.bench.network_suite import LOOPS, MERGED, choose_networks
from jconv.bench.networks import NETWORKS
from jconv.cli import main


@pytest.mark.parametrize("name, convolutions", [("EfficientNet-Lite0", 49), ("ConvNeXt block", 3)])
def test_accelerated_networks_compute_the_same_outputs(name, convolutions):
    network = NETWORKS[name](quick=True)
    arguments = (network.parameters, network.x)
    forward = network.forward
    plain, fast = (jax.jit(f)(*arguments) for f in (forward, jconv.accelerate(forward)))
    np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-4 * float(abs(plain).max()))
    assert len(jconv.inspect(forward)(*arguments).convolutions) == convolutions


def test_networks_are_chosen_by_name_and_kind():
    assert choose_networks("inception") == ["Inception v3", "Inception v3, merged"]
    assert choose_networks("network") == choose_networks("") and not choose_networks("depthwise")


@pytest.mark.slow
def test_training_steps_are_timed_in_every_loop(tmp_path):
    out = tmp_path / "loops"
    assert main(["bench", "--quick", "--only", "training steps", "--out", str(out)]) == 0
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert [row["layer"] for row in rows] == list(LOOPS)
    assert all(row["seconds"].keys() == {"jconv", "lax", "in turn"} for row in rows)


@pytest.mark.slow
def test_inception_is_timed_in_training_and_merged(tmp_path):
    out = tmp_path / "inception"
    assert main(["bench", "--quick", "--only", "Inception", "--out", str(out)]) == 0
    rows = json.loads(out.with_suffix(".json").read_text())["rows"]
    assert [(row["layer"], row["which"]) for row in rows] == [
        ("Inception v3", "forward"), ("Inception v3", "gradients"), (MERGED, "forward")
    ]  # fmt: skip
    assert set(rows[-1]["seconds"]) == {"jconv", "lax", "unmerged"}
