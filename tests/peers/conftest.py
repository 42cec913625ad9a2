"""What the peers' tests share."""

import pytest


@pytest.fixture(params=("xla", "direct", "auto"))
def algorithm(request):
    return request.param
