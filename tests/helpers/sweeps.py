"""A tiny config with two axes, and a stand-in for training."""

import math
from pathlib import Path

import yaml

from jconv.train import RunFailed, TrainConfig, run_folder
from jconv.train.sweep import search
from jconv.train.sweep.axes import Choices

CONTENT = {
    "name": "tiny",
    "data": {"kind": "digits"},
    "model": {"kind": "parallel_net", "blocks": [{1: 2, 3: 4}]},
    "steps": 6,
    "batch_size": 16,
    "log": {"every": 2, "evaluate_every": 6, "kernels_every": 6},
}
RATE, DROPOUT = "optimizer.learning_rate", "model.dropout"
AXES = (Choices(RATE, (0.001, 0.01)), Choices(DROPOUT, (0.0, 0.5)))


class FakeTraining:
    """Replacement of `train` and `resume`: writes the files of a run without training.

    Attributes:
      trained, resumed: names of the runs that were trained and resumed.
      fail, stop: numbers of the points whose runs fail and are interrupted.
    """

    def __init__(self, monkeypatch):
        self.trained, self.resumed, self.fail, self.stop = [], [], (), ()
        monkeypatch.setattr(search, "train", self.train)
        monkeypatch.setattr(search, "resume", self.resume)

    def train(self, config, *, runs, overwrite):
        run = Path(runs) / config.name
        run.mkdir(exist_ok=overwrite)
        (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        self.trained.append(config.name)
        return self._finish(run, config)

    def resume(self, run, *, notify):
        self.resumed.append(run.name)
        content = yaml.safe_load((run / "config.yaml").read_text())
        return self._finish(run, TrainConfig.model_validate(content))

    def _finish(self, run, config):
        number = int(run.name[:3])
        summary = {"steps": config.steps, "seconds": 1.5}
        if number in self.fail:
            summary |= {"status": "failed", "error": "NotFinite: step 3 was not taken"}
        elif number in self.stop:
            summary |= {"status": "interrupted", "signal": "SIGINT"}
        else:
            # The optimum is a rate of 0.01 without dropout.
            loss = abs(math.log10(config.optimizer.learning_rate) + 2) + config.model.dropout
            summary |= {"status": "finished", "validation_loss": loss}
            summary |= {"validation_loss_error": 0.01}
            summary |= {"validation_accuracy": 1 / (1 + loss), "validation_accuracy_error": 0.0021}
        run_folder.write_json(run / "summary.json", summary)
        if number in self.fail:
            raise RunFailed(run, summary["error"])
        return run, summary
