"""The verbs, and what ends each of them."""

import errno
import os
import sys
from collections.abc import Callable, Sequence

import jconv
from jconv.cli.arguments import INTERRUPTED, OK, USAGE_ERROR
from jconv.cli.models import predict, summary
from jconv.cli.runs import compare, report, resume, train
from jconv.cli.speed import bench, inspect, tune
from jconv.cli.sweeps import sweep
from jconv.cli.walkthrough import walkthrough

USAGE = """\
jconv {version}: a convolution laboratory for JAX

usage: jconv VERB ...        jconv VERB --help tells more

  train CONFIG.yaml [--section.field VALUE ...] [--overwrite]
                        train what a config describes; writes runs/NAME/
  resume RUN            go on with a run that was ended or killed
  sweep CONFIG.yaml --section.field VALUE,VALUE,... [--random N | --optuna N]
                        train a run for each of several values; go on with such a sweep
  compare RUN RUN...    runs side by side: figures, differences, curves
  report RUN            write the page of a run again, runs/NAME/report.html
  summary CONFIG.yaml|NETWORK
                        the layers of a network: shapes, parameters, multiply-adds
  predict NETWORK IMAGE...
                        what a published network sees in photographs
  walkthrough           one convolution, step by step, each product written out
  inspect CONFIG.yaml   the convolutions of a training step: algorithm, time, reason
  tune [CONFIG.yaml]    measure the algorithms on this device, for "auto" to go by
  bench                 time published layers against lax and, where installed, torch

  --version             print the version
"""

VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "resume": resume,
    "sweep": sweep,
    "compare": compare,
    "report": report,
    "summary": summary,
    "predict": predict,
    "walkthrough": walkthrough,
    "inspect": inspect,
    "tune": tune,
    "bench": bench,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
      arguments: the words after `jconv`; those of the process if None.

    Returns:
      0 if all went well, 2 for what the caller can mend, 130 after Ctrl-C.
    """
    # What a wrong --section.field value is told ends in a sentence, not in a link.
    os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
    words = sys.argv[1:] if arguments is None else list(arguments)
    verb, *rest = words or ["--help"]
    try:
        code = _call(verb, rest)
        sys.stdout.flush()
        return code
    except ValueError as error:
        print(f"jconv {verb}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        print(f"jconv {verb}: {str(error).rstrip('.')}{_advice(error)}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"jconv {verb}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _advice(error: OSError) -> str:
    """What to do about an error of the system, where that is known."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ". Allow it, or choose another place, by `--runs` or `--out` where the verb has it."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ". Make room, then `jconv resume RUN` goes on with a run."
    return ""


def _call(verb: str, words: Sequence[str]) -> int:
    usage = USAGE.format(version=jconv.__version__)
    if verb in ("-h", "--help", "help"):
        print(usage)
        return OK
    if verb == "--version":
        print(jconv.__version__)
        return OK
    if verb not in VERBS:
        print(
            f"jconv: `VERB` must be one of {list(VERBS)}. Received: {verb!r}.\n\n{usage}",
            file=sys.stderr,
        )
        return USAGE_ERROR
    return VERBS[verb](words)
