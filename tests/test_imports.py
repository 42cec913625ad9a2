"""Cost of `import jconv` and of the command line: what they import, and what they do not."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jconv

HEAVY = {"matplotlib", "grain", "orbax", "pydantic"}
PARTS = {"jconv.bench", "jconv.cli", "jconv.report"}
LAZY_PARTS = ("data", "report", "train")


def modules_after(code):
    """Return the names of the modules that `code` imports in a fresh interpreter."""
    code = f"import sys\n{code}\nimport json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    return modules | {name.partition(".")[0] for name in modules}


def test_import_is_light():
    modules = modules_after("import jconv")
    assert "jconv" in modules
    assert not modules & (HEAVY | PARTS | {"jax", "flax", "numpy"})


def test_public_names_import_neither_reports_nor_the_training_stack():
    code = f"import jconv\nfor name in set(jconv.__all__) - {set(LAZY_PARTS)}: getattr(jconv, name)"
    modules = modules_after(code)
    assert "jconv.functional.conv" in modules and "jconv.nn" in modules
    assert not modules & (HEAVY | PARTS)


@pytest.mark.parametrize("argument", ["--help", "--version", "trian"])
def test_help_and_version_import_no_libraries(argument):
    modules = modules_after(f"from jconv.cli import main\nmain([{argument!r}])")
    assert "jconv.cli.main" in modules
    assert not modules & (HEAVY | {"jax", "flax", "numpy", "tyro", "rich"})


def test_walkthrough_imports_no_training_stack():
    modules = modules_after("from jconv.cli import main\nmain(['walkthrough'])")
    assert "jconv.walkthrough" in modules
    assert not modules & (HEAVY | {"flax", "optax", "jconv.train", "jconv.report", "jconv.bench"})


def test_verbs_about_finished_runs_import_no_training_stack():
    modules = modules_after("import jconv.cli.reports")
    assert "jconv.report.page" in modules
    assert not modules & {"flax", "orbax", "optax", "grain", "matplotlib", "jconv.train.loop"}


def test_subpackages_load_on_first_use():
    code = "import jconv\nassert 'jconv.data' not in sys.modules\njconv.data.load_npz"
    assert "jconv.data.npz" in modules_after(code)


@pytest.mark.parametrize("package", [jconv, jconv.analysis, jconv.data, jconv.train])
def test_names_of_lazy_packages_are_those_that_type_checkers_read(package):
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    submodules = getattr(package, "_MODULES", ())
    assert imported == dict.fromkeys(submodules, "jconv") | package._DEFINED_IN
    for name in package.__all__:
        assert getattr(package, name) is not None and name in dir(package)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jconv' has no attribute 'convolve'"):
        jconv.convolve  # noqa: B018
    with pytest.raises(ImportError, match="convolve"):
        from jconv import convolve  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue]


def test_functions_are_not_hidden_by_modules_of_the_same_name():
    code = """
import jconv.walkthrough, jconv.transforms.inspect, jconv.transforms.accelerate
import jconv.functional.conv
from jconv import accelerate, conv, inspect, walkthrough
from jconv.walkthrough import Walkthrough
assert isinstance(jconv.walkthrough([[1]], [[1]]), Walkthrough)
for function in (accelerate, conv, inspect, walkthrough):
    assert type(function).__name__ == "function", function
    assert getattr(jconv, function.__name__) is function
"""
    assert "jconv.walkthrough" in modules_after(code)


def test_star_import_binds_public_names():
    names = {}
    exec("from jconv import *", names)
    assert {"conv", "nn", "train", "walkthrough", "__version__"} <= set(names)
    assert "importlib" not in names
