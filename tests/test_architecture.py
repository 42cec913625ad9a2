"""The architecture: which package may import which, and which modules lie loose in `jconv`."""

import ast
from pathlib import Path

import pytest

import jconv

PACKAGE = Path(jconv.__file__).parent

# A package may import those above it. The root `__init__` and `extend` re-export, so that they may
# import all; nothing imports them but the command line.
ORDER = (
    "_version",
    "kernels",
    "_core",
    "algorithms",
    "selection",
    "functional",
    "profiling",
    "transforms",
    "walkthrough",
    "nn",
    "structure",
    "analysis",
    "models",
    "data",
    "train",
    "report",
    "bench",
    "cli",
    "__main__",
)
LOOSE_MODULES = {"__init__", "__main__", "_version", "kernels", "walkthrough", "extend"}
ROOT = "the root of the package"


def imported_parts(path):
    """Yield the line and the part of jconv of each import in a file, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import"
            modules = [node.module]
            if node.module == "jconv":
                modules = [f"jconv.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            root, *parts = module.split(".")
            if root == "jconv":
                part = parts[0] if parts else ROOT
                yield node.lineno, part if part in ORDER else ROOT


def files():
    return [p for p in sorted(PACKAGE.rglob("*.py")) if p.stem != "extend" and p.parent != PACKAGE
            or p.parent == PACKAGE and p.stem not in ("__init__", "extend")]  # fmt: skip


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_packages_above_its_own(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert part in ORDER, f"{part} has no place in the order of packages"
    below = [
        f"line {line}: {imported}"
        for line, imported in imported_parts(path)
        if imported == ROOT or ORDER.index(imported) > ORDER.index(part)
    ]
    assert not below, f"{path.relative_to(PACKAGE)} imports what stands below it: {below}"


def test_no_other_module_lies_loose_in_the_package():
    assert {path.stem for path in PACKAGE.glob("*.py")} <= LOOSE_MODULES


def test_every_package_has_a_place_in_the_order():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= set(ORDER)
