"""Fixtures of sweeps."""

import pytest
from helpers.sweeps import CONTENT, FakeTraining

from jconv.train import TrainConfig


@pytest.fixture
def config():
    """A config that trains in a few seconds."""
    return TrainConfig.model_validate(CONTENT)


@pytest.fixture
def fake_training(monkeypatch):
    """Training that only writes files."""
    return FakeTraining(monkeypatch)
