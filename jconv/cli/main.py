"""Entry point of the command line: finds the verb, runs it, and turns errors into exit codes.

This module imports only the standard library. The module of a verb, with all that it needs, is
imported when that verb is called, so that `jconv --help` and `jconv --version` are immediate.
"""

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from jconv._version import __version__
from jconv.cli.exit_codes import INTERRUPTED, OK, USAGE_ERROR

USAGE = f"""\
jconv {__version__}: a convolution laboratory for JAX

usage: jconv VERB ...        `jconv VERB --help` describes one verb

  train CONFIG.yaml [--section.field VALUE ...] [--overwrite]
                        train a model; writes runs/NAME/
  resume RUN            continue an interrupted run from its latest checkpoint
  sweep CONFIG.yaml --section.field VALUE,VALUE,... [--random N | --optuna N]
                        train one run per combination of values; continue an interrupted sweep
  compare RUN RUN...    compare runs: final metrics, differences of their configs, curves
  report RUN            write the report of a run again, runs/NAME/report.html
  summary CONFIG.yaml|MODEL
                        list the layers of a model: shapes, parameters, multiply-adds
  predict MODEL IMAGE...
                        classify photographs with a published model
  walkthrough           compute one convolution step by step, every product written out
  inspect CONFIG.yaml   list the convolutions of a training step: algorithm, time, reason
  tune [CONFIG.yaml]    measure the algorithms on this device, for algorithm="auto"
  bench                 time published layers against lax and, where installed, torch

  --version             print the version
"""

# The module of each verb. The function in it has the name of the verb, takes the arguments after
# the verb and returns an exit code.
VERBS = {
    "train": "jconv.cli.runs",
    "resume": "jconv.cli.runs",
    "sweep": "jconv.cli.sweeps",
    "compare": "jconv.cli.reports",
    "report": "jconv.cli.reports",
    "summary": "jconv.cli.models",
    "predict": "jconv.cli.models",
    "walkthrough": "jconv.cli.walkthrough",
    "inspect": "jconv.cli.inspect",
    "tune": "jconv.cli.tune",
    "bench": "jconv.cli.bench",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
      arguments: the arguments after `jconv`; those of the process if None.

    Returns:
      0 on success, 2 for an error that the user can correct, 130 after Ctrl-C.
    """
    verb, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    try:
        code = _run(verb, rest)
        sys.stdout.flush()
        return code
    except ValueError as error:
        print(f"jconv {verb}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # the reader of the output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        print(f"jconv {verb}: {str(error).rstrip('.')}{_advice(error)}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"jconv {verb}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(verb: str, arguments: Sequence[str]) -> int:
    if verb in ("-h", "--help", "help"):
        print(USAGE)
        return OK
    if verb == "--version":
        print(__version__)
        return OK
    if verb not in VERBS:
        print(
            f"jconv: `VERB` must be one of {list(VERBS)}. Received: {verb!r}.\n\n{USAGE}",
            file=sys.stderr,
        )
        return USAGE_ERROR
    # Error messages of pydantic end without a link to its documentation.
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    with _quiet_interrupt():
        module = importlib.import_module(VERBS[verb])
    return getattr(module, verb)(arguments)


@contextlib.contextmanager
def _quiet_interrupt() -> Iterator[None]:
    """Make Ctrl-C end the process at once, without a traceback, while modules are imported.

    A `KeyboardInterrupt` during an import can be replaced by other errors, or printed and lost, in
    extension modules. Nothing needs cleaning up at that point.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _advice(error: OSError) -> str:
    """Return advice on an error of the operating system; empty if there is none."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ". Change its permissions, or choose another folder with `--runs` or `--out`."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ". Free some disk space; `jconv resume RUN` continues a run."
    return ""
