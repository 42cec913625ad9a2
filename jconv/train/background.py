"""What is done beside the steps of a run: one thing after another, in a thread of its own."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Beside:
    """A thread that does what it is given in turn, while steps are taken."""

    def __init__(self):
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._asked: deque[Future] = deque()

    def __call__(self, work: Callable[..., None], *args) -> None:
        """Has `work(*args)` done after what was asked for before; raises what went wrong there."""
        while self._asked and self._asked[0].done():
            self._asked.popleft().result()
        self._asked.append(self._thread.submit(work, *args))

    def wait(self) -> None:
        """Waits until all that was asked for is done; raises what went wrong."""
        while self._asked:
            self._asked.popleft().result()

    def close(self) -> None:
        """Waits, and ends the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown(cancel_futures=True)
