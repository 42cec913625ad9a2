"""Something that happens in the middle of a run."""

from jconv.train import loop


def at_step(monkeypatch, step, act):
    """Does something before one step of the runs to come, which take their steps one by one.

    Args:
      monkeypatch: the fixture, or a context of it.
      step: the number of the step.
      act: is called; if it returns inputs and targets for given ones, the step takes its batch
        from those.
    """
    original = loop.take_steps

    def take_steps(learner, state, data, order, keys, first, count):
        if first <= step < first + count:
            data = act(data) or data
        return original(learner, state, data, order, keys, first, count)

    monkeypatch.setattr(loop, "LONGEST", 0.0)
    monkeypatch.setattr(loop, "take_steps", take_steps)
