"""Something that happens in the middle of a run."""

from jconv.train import loop


def at_step(step, act):
    """A train step that does something before its `step`-th call."""
    calls = iter(range(1, 10**9))
    original = loop.train_step

    def train_step(*args, **kwargs):
        if next(calls) == step:
            act()
        return original(*args, **kwargs)

    return train_step
