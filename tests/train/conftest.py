"""Fixtures of the tests of training."""

import pytest
from helpers.tiny_run import tiny_config

from jconv.train import loop, train


@pytest.fixture(scope="session", autouse=True)
def shared_programs():
    """Keep compiled programs after each run, so that runs of equal config share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "clear_cache", lambda: None)
        yield


@pytest.fixture(scope="session")
def reference(shared_programs, tmp_path_factory):
    """The folder of an uninterrupted tiny run; tests must not change it."""
    run, _ = train(tiny_config(), runs=tmp_path_factory.mktemp("reference"))
    return run
