import pytest

from jconv.train import loop


@pytest.fixture(scope="module", autouse=True)
def shared_programs():
    """Keep compiled programs after each run, so that runs of equal config share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "clear_cache", lambda: None)
        yield
