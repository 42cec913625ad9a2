"""Training of the points of a sweep: a grid, random points, or points chosen by Optuna."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from jconv.train import run_folder
from jconv.train.config import FilteredPhotos, TrainConfig
from jconv.train.config.loading import ConfigError
from jconv.train.loop import RunFailed, resume, train
from jconv.train.sweep.axes import Axis
from jconv.train.sweep.checks import check_points, describe_error
from jconv.train.sweep.config_values import with_values
from jconv.train.sweep.folder import (
    Point,
    Result,
    SweepPlan,
    make_point,
    open_folder,
    read_plan,
    read_result,
    read_results,
    write_plan,
)
from jconv.train.sweep.optuna_search import OptunaSearch
from jconv.train.sweep.points import MAX_POINTS, grid, points_to_check, sample


def sweep(
    config: TrainConfig,
    axes: Sequence[Axis],
    *,
    folder: Path | str,
    random: int | None = None,
    optuna: int | None = None,
    overwrite: bool = False,
    on_start: Callable[[Point, int], None] = lambda point, count: None,
    on_result: Callable[[Result], None] = lambda result: None,
    notify: Callable[[str], None] = lambda message: None,
) -> list[Result]:
    """Train a run for each point: all points of a grid, or some of them.

    A second call for the same folder skips finished points, continues unfinished ones, and adds
    points if `random` or `optuna` is larger. A point whose run fails is marked as failed, and the
    sweep goes on. Ctrl-C ends the sweep after the current run is saved.

    Args:
      config: config of all runs, apart from the values of the axes. Its seed also samples points.
      axes: at least one axis.
      folder: folder of the sweep, which will contain the folders of its runs.
      random: number of points to sample at random, instead of a grid.
      optuna: number of points that Optuna chooses, each based on the results of earlier ones.
      overwrite: replace a sweep in that folder.
      on_start: called before each point is trained, with the point and the number of all points.
      on_result: called after each point is trained.
      notify: called with the messages of `jconv.train.resume`.

    Returns:
      The result of each point.

    Raises:
      ConfigError: listing everything that is wrong with any point; no file was written.
      ValueError: if the folder holds another sweep, or something else.
      RunBusy: if another process is writing to the folder.
    """
    folder = Path(folder)
    if not overwrite:
        axes = _in_saved_order(axes, folder)
    request = _make_plan(config, axes, random, optuna)
    check_points(config, [p.values for p in request.points] or points_to_check(axes))
    if optuna:
        OptunaSearch.check_installed()
    with open_folder(folder, request, overwrite=overwrite) as plan:
        points: Iterable[Point] = plan.points
        report: Callable[[Result], None] = lambda result: None
        if optuna:
            search = OptunaSearch(folder, axes, metric=_objective(config), seed=config.seed)
            points = _suggested_points(search, plan, folder)
            report = lambda result: search.report(result.point.number, result.summary)
        for point in points:
            if run_folder.status(folder / point.name) == "finished":
                # Optuna may not know the result yet: the sweep was killed, or `jconv resume`
                # finished the run.
                report(read_result(folder, point))
                continue
            on_start(point, plan.count)
            result = _run_point(config, point, folder, notify)
            report(result)
            on_result(result)
            if result.status == "interrupted":
                break
        return read_results(folder)


def _make_plan(
    config: TrainConfig, axes: Sequence[Axis], random: int | None, optuna: int | None
) -> SweepPlan:
    if not axes:
        raise ConfigError(
            "a sweep needs at least one value of the config with commas, such as "
            "`--optimizer.learning_rate 1e-3,3e-3`, or a range, such as 1e-4..1e-1. Received: none."
        )
    if random and optuna:
        raise ConfigError("`--random` and `--optuna` must not both be given. Received: both.")
    count, option = (random, "--random") if random else (optuna or 0, "--optuna")
    if count > MAX_POINTS:
        raise ConfigError(f"`{option}` must be at most {MAX_POINTS:,} points. Received: {count:,}.")
    if config.distributed:
        raise ConfigError(
            "`distributed` must be omitted: one process trains all points of a sweep."
        )
    search = "optuna" if optuna else "random" if random else "grid"
    points = [] if optuna else sample(axes, random, config.seed) if random else grid(axes)
    return SweepPlan(
        search=search,
        count=optuna or len(points),
        axes={axis.path: axis.to_yaml() for axis in axes},
        points=tuple(make_point(number, values) for number, values in enumerate(points, 1)),
        config=config.model_dump(mode="json"),
    )


def _in_saved_order(axes: Sequence[Axis], folder: Path) -> Sequence[Axis]:
    """Return the axes in the order of the sweep in the folder, which numbers its points."""
    if not (folder / "sweep.yaml").is_file():
        return axes
    saved = list(read_plan(folder).axes)
    if {axis.path for axis in axes} != set(saved):
        return axes
    return sorted(axes, key=lambda axis: saved.index(axis.path))


def _objective(config: TrainConfig) -> str:
    """Return the metric that Optuna optimizes."""
    return "validation_loss" if isinstance(config.data, FilteredPhotos) else "validation_accuracy"


def _suggested_points(search: OptunaSearch, plan: SweepPlan, folder: Path) -> Iterator[Point]:
    """Yield the points of unfinished trials, then new ones, writing each to sweep.yaml."""

    def update_plan() -> tuple[Point, ...]:
        points = tuple(make_point(number, values) for number, values in search.points())
        write_plan(folder, plan.model_copy(update={"points": points}))
        return points

    count = len(update_plan())
    for number, values in search.unfinished():
        yield make_point(number, values)
    while count < plan.count:
        search.start_trial()
        points = update_plan()
        count = len(points)
        yield points[-1]


def _run_point(
    config: TrainConfig, point: Point, folder: Path, notify: Callable[[str], None]
) -> Result:
    """Train a point, or continue its run."""
    run = folder / point.name
    try:
        if (run / "config.yaml").is_file():
            resume(run, notify=notify)
        else:  # there may be a folder without a config, of a process that was killed
            _train_point(config, point, folder)
    except RunFailed as error:
        if isinstance(error.__cause__, OSError):  # such as a full disk: all later points would fail
            raise OSError(str(error)) from error
    return read_result(folder, point)


def _train_point(config: TrainConfig, point: Point, folder: Path) -> None:
    """Train a point; an invalid combination of its values makes only this point fail."""
    try:
        train(with_values(config, point.values, point.name), runs=folder, overwrite=True)
    except (run_folder.RunBusy, run_folder.RunExists):
        raise
    except ValueError as error:
        run = folder / point.name
        run.mkdir(exist_ok=True)
        summary = {"status": "failed", "error": describe_error(error)}
        run_folder.write_json(run / "summary.json", summary)
