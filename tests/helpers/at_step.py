"""Actions in the middle of a run."""

from jconv.train import step_loop, trainer


def at_step(monkeypatch, step, action):
    """Run `action` before one step of all subsequent runs, which then take one step per call.

    Args:
      monkeypatch: the pytest fixture, or a context of it.
      step: the number of the step.
      action: called with the step's data, inputs and targets; it may return other data, from which
        the step then takes its batch.
    """
    original = trainer.take_steps

    def take_steps(train_step, state, data, indices, keys, first, count):
        if first <= step < first + count:
            data = action(data) or data
        return original(train_step, state, data, indices, keys, first, count)

    monkeypatch.setattr(step_loop, "MAX_CALL_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "take_steps", take_steps)
