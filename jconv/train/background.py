"""A background thread that runs tasks one after another beside the training steps."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class BackgroundWorker:
    """A single thread that runs submitted tasks in order."""

    def __init__(self):
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="jconv-background")
        self._pending: deque[Future] = deque()

    def submit(self, task: Callable[..., None], *args) -> None:
        """Schedule `task(*args)` after all tasks submitted before.

        Raises:
          Exception: the error of an earlier task that has failed.
        """
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()
        self._pending.append(self._executor.submit(task, *args))

    def wait(self) -> None:
        """Wait until every submitted task has finished, and raise the first error."""
        while self._pending:
            self._pending.popleft().result()

    def close(self) -> None:
        """Wait for the submitted tasks and end the thread."""
        try:
            self.wait()
        finally:
            self._executor.shutdown(cancel_futures=True)
