import numpy as np
import pytest


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every run, and differ from test to test."""
    return np.random.default_rng(list(request.node.nodeid.encode()))
