"""Ctrl-C and SIGTERM as requests to stop after the current step."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence

from jconv.train.distributed import sync_signals


class EvaluationInterrupted(Exception):
    """SIGTERM arrived during an evaluation, which is abandoned so that the run can stop at once."""


def raise_on_sigterm(received: Sequence[int]) -> None:
    """Raise `EvaluationInterrupted` in all processes if one of them has received SIGTERM.

    Args:
      received: the signals that this process has received.
    """
    if signal.SIGTERM in sync_signals(received):
        raise EvaluationInterrupted


@contextlib.contextmanager
def handle_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in the list that is yielded, instead of acting on them.

    A second Ctrl-C raises `KeyboardInterrupt` at once. Signals reach the main thread only; in any
    other thread the list stays empty. A signal that the process ignores on entry, as shells do with
    SIGINT for background jobs, remains ignored.
    """
    received: list[int] = []

    def handler(number, _):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.getsignal(number)
    try:
        for number in previous:
            signal.signal(number, handler)
        yield received
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
