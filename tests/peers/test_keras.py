"""The convolution tests of Keras, which ship in its wheel, with jconv in the place of `lax`.

Each run is a process of its own: Keras takes its backend from the environment, and jits.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

# Found but not imported: that would start the default backend.
KERAS = importlib.util.find_spec("keras")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KERAS, reason="pip install -r tests/peers/requirements.txt"),
]

HERE = Path(__file__).parent
TESTS = ("layers/convolutional", "layers/rnn/conv_lstm*_test.py", "ops/nn_test.py")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """What passes by JAX's own convolution."""
    passed, _, _ = _run_keras(tmp_path_factory.mktemp("keras") / "report.xml")
    assert len(passed) > 300
    return passed


def test_what_passes_by_jax_passes_by_jconv(untouched, algorithm, tmp_path):
    passed, failures, output = _run_keras(tmp_path / "report.xml", algorithm)
    calls = re.search(r"(\d+) calls taken by jconv", output)
    assert calls and int(calls[1]) > 300
    lost = sorted(untouched - passed)
    assert not lost, "\n\n".join(f"{name}\n{failures.get(name, 'did not run')}" for name in lost)


def _run_keras(report, algorithm=""):
    """Returns the names of the tests that passed, the texts of those that failed, the output."""
    folder = Path(KERAS.origin).parent / "src"
    files = [path for pattern in TESTS for path in sorted(folder.glob(pattern))]
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    environment = dict(KERAS_BACKEND="jax", JCONV_ALGORITHM=algorithm, PYTHONPATH=path)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "swap", "-p", "no:cacheprovider", "-q",
         "--rootdir", folder, "-c", os.devnull, "-k", "conv", "--junit-xml", report, *files],
        env={**os.environ, **environment}, cwd=report.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode in (0, 1), run.stdout[-4000:] + run.stderr[-4000:]
    passed, failures = set(), {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        failed = case.find("failure") if case.find("failure") is not None else case.find("error")
        if failed is not None:
            failures[name] = failed.text
        elif case.find("skipped") is None:
            passed.add(name)
    return passed, failures, run.stdout
