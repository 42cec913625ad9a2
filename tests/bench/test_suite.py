"""Runs of the benchmark: measurements, files, and the command line."""

import contextlib
import json

import pytest
from helpers.bench_layers import SMALL_LAYERS

from jconv.bench.implementations import problems_of
from jconv.bench.measurement import Measurement, geometric_mean
from jconv.bench.network_suite import LOOPS
from jconv.bench.suite import bench_layers
from jconv.cli import main


def test_unknown_layers_are_an_error(capsys):
    assert main(["bench", "--only", "hexagonal"]) == 2
    assert "`--only` must be part of a layer's name or kind: ['stem'," in capsys.readouterr().err


def test_an_unwritable_output_is_reported_before_anything_is_timed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["bench", "--out", str(tmp_path / "file" / "bench")]) == 2
    assert "jconv bench: " in capsys.readouterr().err


def test_geometric_mean():
    assert geometric_mean([1, 100]) == pytest.approx(10)


def test_measurements_survive_a_ctrl_c(tmp_path, monkeypatch):
    def interrupted(names, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("jconv.cli.bench.bench_networks", interrupted)
    monkeypatch.setattr("jconv.bench.layers.LAYERS", SMALL_LAYERS[:1])
    with contextlib.suppress(KeyboardInterrupt):
        main(["bench", "--quick", "--out", str(tmp_path / "bench")])
    content = json.loads((tmp_path / "bench.json").read_text())
    assert [row["which"] for row in content["rows"]] == ["forward", "gradients"]


@pytest.fixture
def fixed_times(monkeypatch):
    """Times in place of measured ones."""
    times = {"jconv": [1.0, 2.0, 2.0], "lax": [2.0, 6.0, 8.0], "torch": [1.0, 1.0, 1.0]}
    times["in turn"] = times["torch"]
    monkeypatch.setattr(
        "jconv.bench.measurement.time_interleaved",
        lambda calls, **_: {name: times[name] for name in calls},
    )


def test_measurements_of_both_passes(fixed_times):
    reported: list[Measurement] = []
    measurements = bench_layers(SMALL_LAYERS[:1], budget=0, on_result=reported.append)
    assert measurements == reported
    assert [m.which for m in measurements] == ["forward", "gradients"]
    for m in measurements:
        assert (m.seconds["jconv"], m.seconds["lax"]) == (2.0, 6.0)
        assert m.speedup["lax"] == 3.0  # the median of 2, 3 and 4
        assert m.multiply_adds == 2 * 5 * 5 * 9 * 4 * 6
        convolutions = 3 if m.which == "gradients" else 1  # 2 flops for each, in 2 seconds
        assert m.gflops == pytest.approx(convolutions * m.multiply_adds / 1e9)


def test_per_example_gradients_count_two_convolutions(fixed_times):
    forward, gradients = bench_layers(SMALL_LAYERS[-1:], budget=0)
    assert gradients.gflops == pytest.approx(2 * forward.gflops)


def test_the_command_line_writes_json_and_a_figure(fixed_times, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("jconv.bench.layers.LAYERS", SMALL_LAYERS[:2])
    names = ["ConvNeXt block", LOOPS[0]]
    monkeypatch.setattr("jconv.cli.bench.choose_networks", lambda only: names)
    folder = tmp_path / "some"
    assert main(["bench", "--quick", "--out", str(folder / "where-0.12")]) == 0
    content = json.loads((folder / "where-0.12.json").read_text())
    assert content["matrix_product_gflops"] > 0
    layers = list(dict.fromkeys(row["layer"] for row in content["rows"]))
    assert layers == ["strided", *names]  # both layers are of one kind
    assert (folder / "where-0.12.png").stat().st_size > 1000
    assert len(list(folder.iterdir())) == 2
    assert "strided" in capsys.readouterr().out


def test_the_command_line_reports_regret(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jconv.bench.layers.LAYERS", SMALL_LAYERS[:5])
    problem = problems_of(SMALL_LAYERS[7])[0]
    monkeypatch.setattr("jconv.cli.bench.draw_problems", lambda count: [problem] * count)
    out = tmp_path / "bench"
    arguments = ["--quick", "--only", "depthwise", "--regret", "1", "--out", str(out)]
    assert main(["bench", *arguments]) == 0
    content = json.loads(out.with_suffix(".json").read_text())
    assert [row["layer"] for row in content["rows"]] == ["depthwise"] * 2
    counts = {what: len(regret["races"]) for what, regret in content["regret"].items()}
    assert counts == {"published convolutions": 3, "random convolutions": 1}
    printed = " ".join(capsys.readouterr().out.split())
    assert "regret of auto on 3 published convolutions" in printed
    assert "regret of auto on 1 random convolutions" in printed
