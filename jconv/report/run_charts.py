"""Charts of the metrics of runs: for the report of one run, and for a comparison."""

from collections.abc import Mapping, Sequence

from jconv.report.curves import Chart, make_chart
from jconv.report.run_reader import Run


def _metric_chart(title: str, curves: Mapping[str, tuple[Run, str]], **options) -> Chart | None:
    """Draw metrics with their standard errors; None if none of them was logged.

    Args:
      title: title of the chart.
      curves: run and key of the metric, by the name of the curve.
      options: passed to `make_chart`.
    """
    return make_chart(
        title,
        {name: run.series(key) for name, (run, key) in curves.items()},
        errors={name: run.series(f"{key}_error") for name, (run, key) in curves.items()},
        last_step=max(run.last_step for run, _ in curves.values()),
        **options,
    )


def _drop_empty(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart]


def training_charts(run: Run) -> list[Chart]:
    """Return the charts of loss, accuracy and kernel error of one run."""

    def training_and_validation(key: str) -> dict[str, tuple[Run, str]]:
        return {"training": (run, key), "validation": (run, f"validation_{key}")}

    return _drop_empty(
        _metric_chart("Loss", training_and_validation("loss")),
        _metric_chart("Accuracy", training_and_validation("accuracy"), fraction=True, log=False),
        _metric_chart(
            "Largest difference from the hidden kernel", {"": (run, "kernel_error")}, log=True
        ),
    )


def secondary_charts(run: Run) -> list[Chart]:
    """Return the charts of gradient norm, learning rate and speed of one run."""
    return _drop_empty(
        _metric_chart("Gradient norm", {"": (run, "grad_norm")}),
        _metric_chart("Learning rate", {"": (run, "learning_rate")}, log=False),
        _metric_chart("Images per second", {"": (run, "images_per_second")}, log=False),
    )


def comparison_charts(names: Sequence[str], runs: Sequence[Run]) -> list[Chart]:
    """Return charts with one curve per run."""

    def of_all_runs(key: str) -> dict[str, tuple[Run, str]]:
        return {name: (run, key) for name, run in zip(names, runs, strict=True)}

    return _drop_empty(
        _metric_chart("Training loss", of_all_runs("loss")),
        _metric_chart("Validation loss", of_all_runs("validation_loss")),
        _metric_chart("Training accuracy", of_all_runs("accuracy"), fraction=True, log=False),
        _metric_chart(
            "Validation accuracy", of_all_runs("validation_accuracy"), fraction=True, log=False
        ),
        _metric_chart(
            "Largest difference from the hidden kernel", of_all_runs("kernel_error"), log=True
        ),
    )
