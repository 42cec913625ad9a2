"""Ctrl-C and SIGTERM as requests: the step that is under way ends, and what was learned is kept."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence

from jconv.train.distributed import agreed


class CutShort(Exception):
    """SIGTERM came while a model was judged; who sends that does not wait for the end of it."""


def cut_short(asked: Sequence[int]) -> None:
    """Raises `CutShort` in all processes if one of them was asked by SIGTERM."""
    if signal.SIGTERM in agreed(list(asked), 0)[0]:
        raise CutShort


@contextlib.contextmanager
def stop_when_asked() -> Iterator[list[int]]:
    """While this lasts, Ctrl-C and SIGTERM add their numbers to the list that is yielded; a second
    Ctrl-C interrupts at once.

    Signals reach the main thread alone, and elsewhere the list stays empty. A process that was
    started deaf to Ctrl-C, as a shell starts those in the background, stays so.
    """
    asked: list[int] = []

    def ask(number, _):
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is threading.main_thread():
        heard = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    else:
        heard = {}
    try:
        for number in heard:
            signal.signal(number, ask)
        yield asked
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
