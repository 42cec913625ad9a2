"""Ctrl-C as a request: the step that is under way ends, and what was learned is kept."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def stop_when_asked() -> Iterator[list[int]]:
    """While this lasts, Ctrl-C adds to the list that is yielded; a second one interrupts at once.

    Signals reach the main thread alone, and elsewhere the list stays empty. A process that was
    started deaf to Ctrl-C, as a shell starts those in the background, stays so.
    """
    asked: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before == signal.SIG_IGN:
        yield asked
        return

    def ask(number, _):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
