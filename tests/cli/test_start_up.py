"""Ctrl-C while the command line starts."""

import subprocess
import sys

import pytest

# Raises SIGINT in the process itself, at the moment that a module is first imported.
INTERRUPTED_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from jconv.cli import main
sys.exit(main({arguments!r}))
"""


@pytest.mark.parametrize(
    "module, arguments",
    [
        ("jconv.cli.runs", ["train", "none.yaml"]),
        ("tyro", ["report", "runs/none"]),
        ("jax", ["train", "none.yaml"]),
        ("numpy", ["walkthrough"]),
    ],
)
def test_interrupt_during_imports_is_quiet(module, arguments):
    code = INTERRUPTED_IMPORT.format(module=module, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_interrupt_is_handled_normally_after_the_imports(monkeypatch, capsys):
    import signal

    from jconv.cli import main, reports

    handlers = []

    def interrupted(arguments):
        handlers.append(signal.getsignal(signal.SIGINT))
        raise KeyboardInterrupt

    monkeypatch.setattr(reports, "report", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert main(["report", "runs/none"]) == 130
    assert handlers == [before]
    assert capsys.readouterr().err == "jconv report: interrupted\n"
