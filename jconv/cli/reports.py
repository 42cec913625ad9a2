"""The verbs `report` and `compare`: pages about finished runs."""

from collections.abc import Sequence
from pathlib import Path

import tyro
from rich.console import Console

from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.report.compare import Comparison, table, write_comparison
from jconv.report.compare import compare as compare_runs
from jconv.report.page import write_page


def report(arguments: Sequence[str]) -> int:
    """Run `jconv report RUN`."""

    def write(run: tyro.conf.Positional[Path]) -> Path:
        """Write the report of a run again.

        Args:
          run: the folder of the run, such as runs/digits.
        """
        return write_page(run)

    print(parse(write, "report", arguments))
    return OK


def compare(arguments: Sequence[str]) -> int:
    """Run `jconv compare RUN RUN...`."""

    def read(
        runs: tyro.conf.Positional[list[Path]], out: Path = Path("compare.html")
    ) -> tuple[Comparison, Path]:
        """Compare runs: final metrics, differences of their configs, and curves.

        Args:
          runs: folders of runs, such as runs/digits; the folder of a sweep means all of its runs.
          out: the page to write, with the curves of all runs in common charts.
        """
        return compare_runs(runs), out

    comparison, out = parse(read, "compare", arguments)
    page = write_comparison(comparison, out)
    Console(highlight=False).print(table(comparison))
    print(f"{'page':14} {page}")
    return OK
