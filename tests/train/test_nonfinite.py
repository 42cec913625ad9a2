"""Steps whose loss or gradient is not finite end a run and are diagnosed."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from flax import nnx
from helpers.tiny_run import TINY, read_metrics, tiny_config

from jconv.cli import main
from jconv.report.page import write_page
from jconv.train import RunFailed, step_loop, train, trainer
from jconv.train.nonfinite import locate_nonfinite
from jconv.train.trainer import Trainer

DIVERGING = {"kind": "sgd", "learning_rate": 1e30}  # products in the last layer overflow


@pytest.mark.parametrize("call_seconds", [0.0, 1e9], ids=["one step per call", "several steps"])
def test_nonfinite_loss_stops_the_run_before_its_step(call_seconds, tmp_path, monkeypatch):
    bad, original = 13, trainer.take_steps

    def take_steps(train_step, state, data, indices, keys, first, count):
        if first <= bad < first + count:
            data = data[0].at[indices[bad - first], 0, 0].set(np.inf), data[1]
        return original(train_step, state, data, indices, keys, first, count)

    monkeypatch.setattr(step_loop, "MAX_CALL_SECONDS", call_seconds)
    monkeypatch.setattr(trainer, "take_steps", take_steps)
    with pytest.raises(RunFailed, match=f"step {bad} was not taken") as error:
        train(tiny_config(), runs=tmp_path)
    run = error.value.run
    assert max(line["step"] for line in read_metrics(run)) == 10
    assert (run / "checkpoints" / f"{bad - 1:06d}").is_dir()


@pytest.mark.parametrize("path", ["blocks.0.branches.1.kernel", "dense.kernel"])
def test_nonfinite_parameter_is_located(path):
    run = Trainer(tiny_config())
    inputs, targets = map(jnp.asarray, run.data.train.take(np.arange(8)))
    for key, parameter in nnx.to_flat_state(run.state.params):
        if ".".join(map(str, key)) == path:
            parameter[...] = parameter[...].at[0].set(np.inf)
    location = locate_nonfinite(run.train_step, run.state, inputs, targets)
    assert re.match(rf"{path} has \d+ non-finite values of \d+", location)


def test_nonfinite_output_is_located_and_shown_on_the_page_of_the_run(tmp_path):
    with pytest.raises(
        RunFailed, match=r"step \d+ was not taken: the output of dense has"
    ) as error:
        train(tiny_config(optimizer=DIVERGING), runs=tmp_path)
    page = write_page(error.value.run).read_text()
    assert "was not taken" in page and "the output of dense" in page and "blocks.0" in page


def test_command_reports_a_nonfinite_step_in_its_last_line(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"optimizer": DIVERGING}))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path)]) == 2
    assert "was not taken" in capsys.readouterr().err.splitlines()[-1]
