"""Fixtures of the command line."""

import pytest
from helpers.sweeps import FakeTraining


@pytest.fixture
def fake_training(monkeypatch):
    """Training that only writes files."""
    return FakeTraining(monkeypatch)
