"""The page of a run, and its curves."""

import json
import os
import re
import zipfile

import numpy as np
import pytest
from helpers.pages import Page, write_lines

from jconv.analysis import kernel_images as pictures
from jconv.report import curves, page
from jconv.report import kernel_timeline as timeline
from jconv.report.formatting import number
from jconv.report.run_reader import read_run

SHAPES = {
    "stem.kernel": (5, 5, 1, 16),
    "blocks.0.branches.0.kernel": (1, 1, 16, 16),
    "blocks.0.branches.1.kernel": (3, 3, 16, 24),
    "blocks.0.branches.2.kernel": (5, 5, 16, 8),
    "blocks.1.depthwise.kernel": (7, 7, 1, 48),
    "blocks.1.pointwise.kernel": (1, 1, 48, 64),
    "head.kernel": (64, 10),
}
CONFIG = """\
# jconv train configs/digits.yaml
model: {kind: inception, widths: {1: 16, 3: 24, 5: 8}}
train:
  steps: 1200
  learning_rate: 0.001
"""
ENVIRONMENT = {
    "jconv": "0.1.0",
    "jax": "0.10.2",
    "python": "3.11.9",
    "devices": ["TFRT_CPU_0"],
    "git_commit": None,
    "started": "2026-11-24T03:14:15+00:00",
    "command": "jconv train configs/digits.yaml",
}
SUMMARY = {
    "status": "finished",
    "steps": 1200,
    "seconds": 24.31,
    "parameters": 15_434,
    "test_accuracy": 0.98889,
    "test_loss": 0.04213,
    "test_images": 360,
    "validation_accuracy": 0.9791,
    "images_per_second": 3158.2,
    "train_images": 1257,
}


def write_kernels(folder, steps, shapes, rng):
    """Kernels that go from noise to a smooth bump, the most of the way early on."""
    (folder / "kernels").mkdir()
    start = {name: rng.normal(size=shape) * 0.08 for name, shape in shapes.items()}
    for step in steps:
        done = 1 - np.exp(-3 * step / max(*steps, 1))
        kernels = {name: kernel + done * bump(kernel) for name, kernel in start.items()}
        float32 = {name: kernel.astype("float32") for name, kernel in kernels.items()}
        np.savez(folder / "kernels" / f"{step:06}.npz", **float32)


def bump(kernel):
    """Waves in every tile, in a different mixture for each pair of channels."""
    *spatial, inputs, outputs = kernel.shape
    u, v = (np.linspace(-2, 2, size) for size in spatial or (1, 1))
    waves = np.stack([np.cos(u)[:, None] * np.sin(v), np.sin(u)[:, None] * np.cos(v)])
    turn = np.arange(inputs)[:, None] + 0.7 * np.arange(outputs)
    mixture = np.stack([np.cos(turn), np.sin(turn)])
    return 0.4 * np.einsum("khw,kio->hwio", waves + 0.2, mixture).reshape(kernel.shape)


def metrics(rng, steps=1200):
    for step in range(0, steps + 1, 10):
        done = np.exp(-step / 150)
        line = {"step": step, "loss": 2.2 * done + 0.03 * rng.uniform(0.5, 2)}
        line |= {"accuracy": 1 - 0.9 * done - 0.02 * rng.uniform(), "grad_norm": 3 * done + 0.1}
        line |= {"learning_rate": 1e-3 * (1 - step / (steps + 1)), "images_per_second": 3100.0}
        if step % 100 == 0:
            line |= {"validation_loss": 2.1 * done + 0.09}
            line |= {"validation_accuracy": 0.97 - 0.9 * done}
        yield line


@pytest.fixture
def finished(tmp_path, rng):
    """A finished classification run of seven layers."""
    run = tmp_path / "digits-inception"
    run.mkdir()
    (run / "config.yaml").write_text(CONFIG)
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (run / "summary.json").write_text(json.dumps(SUMMARY))
    write_lines(run / "metrics.jsonl", metrics(rng))
    write_kernels(run, range(0, 1201, 100), SHAPES, rng)
    (run / "layers.json").write_text(json.dumps(list(layers())))
    return run


def layers():
    before = "input"
    for k, (name, shape) in enumerate(SHAPES.items()):
        size = int(np.prod(shape))
        yield {
            "name": name.removesuffix(".kernel"),
            "output_shape": [8, 8, shape[-1]] if len(shape) > 2 else [shape[-1]],
            "parameters": size + shape[-1],
            "multiply_adds": 64 * size,
            "receptive_field": [2 * k + 5, 2 * k + 5] if len(shape) > 2 else None,
            "connected_to": [before],
        }
        before = name.removesuffix(".kernel")


@pytest.fixture
def recovery(tmp_path, rng):
    """A finished regression run that recovers a hidden kernel."""
    run = tmp_path / "recover-prewitt"
    (run / "kernels").mkdir(parents=True)
    target = np.outer([1, 1, 1], [-1, 0, 1]).astype("float32")
    noise = rng.normal(size=(3, 3))
    for step in range(0, 401, 40):
        kernel = (target + noise * np.exp(-step / 40))[:, :, None, None].astype("float32")
        np.savez(run / "kernels" / f"{step:06}.npz", **{"conv.kernel": kernel})
    np.savez(run / "target.npz", kernel=target)
    worst = float(np.abs(noise).max())
    errors = [(step, worst * np.exp(-step / 40)) for step in range(0, 401, 5)]
    lines = [{"step": s, "loss": e**2, "kernel_error": e, "grad_norm": 2 * e} for s, e in errors]
    write_lines(run / "metrics.jsonl", lines)
    (run / "config.yaml").write_text("task: {kind: recover, kernel: prewitt}\n")
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
    summary = {"status": "finished", "steps": 400, "seconds": 3.2, "parameters": 9}
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def test_the_page_asks_for_nothing_from_outside(finished):
    path = page.write_page(finished)
    shown = Page(path)

    assert path == finished / "report.html"
    assert "http:" not in shown.raw and "https:" not in shown.raw and "@import" not in shown.raw
    assert shown.attributes("href") == []
    assert all(src.startswith("data:image/png;base64,") for src in shown.attributes("src"))
    assert re.findall(r"url\((?!data:image/png;base64,)", shown.raw) == []
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in shown.tags}
    assert path.stat().st_size < 1_000_000


def test_the_page_names_every_layer_and_the_first_and_last_step(finished):
    shown = Page(page.write_page(finished))

    alts = shown.attributes("alt")
    for name in SHAPES:
        assert name in shown.text
        assert {f"{name} at step 0", f"{name} at step 1,200"} <= set(alts)
        assert sum(alt.startswith(f"{name} at ") for alt in alts) == timeline.STRIP
        assert f"{name}, last minus first" in alts
    sheets = [picture for picture in shown.pictures() if picture.height > 2 * picture.width]
    assert len(sheets) >= len(SHAPES)


def test_the_slider_holds_every_snapshot(finished):
    shown = Page(page.write_page(finished))

    slider = next(attrs for tag, attrs in shown.tags if attrs.get("type") == "range")
    moments = json.loads(slider["data-moments"])
    assert [label for label, _ in moments] == [f"step {s:,}" for s in range(0, 1201, 100)]
    assert slider["max"] == "12"
    assert any(attrs.get("for") == "step" for tag, attrs in shown.tags if tag == "label")
    # One frame of the sheet for each place of the slider: stem has a 4 x 4 grid of 5 x 5.
    scale = pictures.scale_to_fit(SHAPES["stem.kernel"], timeline.SIZE)
    frame = 20 * scale + 3 * round(0.4 * scale)
    assert (frame, 13 * frame) in [picture.size for picture in shown.pictures()]


def test_many_snapshots_are_thinned_but_keep_the_first_and_the_last(tmp_path, rng):
    write_kernels(tmp_path, range(0, 1001, 10), {"conv.kernel": (3, 3, 1, 4)}, rng)

    shown = Page(page.write_page(tmp_path))

    moments = json.loads(shown.attributes("data-moments")[0])
    assert len(moments) == timeline.FRAMES
    assert (moments[0][0], moments[-1][0]) == ("step 0", "step 1,000")
    assert "60 of the 101 logged steps" in shown.text


def test_one_colour_scale_holds_for_all_steps_of_a_layer(tmp_path):
    (tmp_path / "kernels").mkdir()
    for step, kernel in enumerate(np.float32([[[0.5, -0.5]], [[0.5, -2.0]], [[0.0, -1.0]]])):
        np.savez(tmp_path / "kernels" / f"{step}.npz", **{"dense.kernel": kernel})

    shown = Page(page.write_page(tmp_path))

    pixels = [np.array(p.convert("RGB"))[0] for p in shown.pictures()]
    sheet, *strip, change = [row[[0, -1]].tolist() for row in pixels]
    expected = np.array([[0.5, -0.5], [0.5, -2.0], [0.0, -1.0], [-0.5, -0.5]])
    colours = pictures.kernel_image(expected, limit=2.0, scale=1).tolist()
    assert [*strip, change] == colours
    assert sheet == colours[0]


def test_the_verdict_and_the_figures_are_those_of_the_summary(finished):
    text = Page(page.write_page(finished)).text

    assert "98.9\u202f% of 360 test images named correctly, after 1,200 steps in 24 s." in text
    for figure in ("15,434", "0.04213", "97.9\u202f%", "1,257", "3,158"):
        assert figure in text
    assert "interrupted" not in text
    assert "2026-11-24 03:14 UTC" in text
    assert "856,064" in text  # multiply-adds of all layers
    assert "learning_rate: 0.001" in text


def test_a_recovery_shows_hidden_and_learned_kernel_with_their_difference(recovery):
    text = Page(page.write_page(recovery)).text

    difference = np.load(recovery / "kernels" / "000400.npz")["conv.kernel"].squeeze()
    difference -= np.load(recovery / "target.npz")["kernel"]
    worst = number(float(np.abs(difference).max()), 3)
    assert "The learned kernel differs from the hidden one by at most" in text
    assert f"differs from the hidden one by {worst} at most" in text
    assert text.count("−1.000") == 6  # the left column, hidden and learned
    power = int(np.floor(np.log10(np.abs(difference).max())))
    assert f"{difference.min() / 10.0**power:.3f}".replace("-", "−") in text
    assert f"in units of {number(10.0**power)}" in text
    assert "Largest difference from the hidden kernel" in text
    assert "Accuracy" not in text


def test_a_large_hidden_kernel_is_a_picture_without_numbers(tmp_path):
    np.savez(tmp_path / "target.npz", kernel=np.ones((40, 40), "float32"))

    shown = Page(page.write_page(tmp_path))

    assert "hidden kernel" in shown.attributes("alt")
    assert "1.000" not in shown.text


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}&\ud800"


def test_strings_of_the_run_are_escaped(tmp_path):
    run = tmp_path / "<script>alert(1)<"
    (run / "kernels").mkdir(parents=True)
    kernel = np.ones((3, 3, 1, 2), "float32")
    for step in (0, 1):
        np.savez(run / "kernels" / f"{step}.npz", **{HOSTILE.replace("/", "")[:-1]: kernel})
    (run / "config.yaml").write_text(f"</pre>{HOSTILE[:-1]}")
    for name in ("environment.json", "summary.json"):
        (run / name).write_text(json.dumps({HOSTILE: HOSTILE, "status": HOSTILE, "jax": HOSTILE}))
    (run / "layers.json").write_text(json.dumps([{"name": HOSTILE, "connected_to": [HOSTILE]}]))
    (run / "metrics.jsonl").write_text(json.dumps({"step": 0, "loss": 1.0, HOSTILE: HOSTILE}))

    shown = Page(page.write_page(run))

    assert [tag for tag, _ in shown.tags].count("script") == 1
    assert all(attrs["src"].startswith("data:") for tag, attrs in shown.tags if tag == "img")
    assert not any(key.startswith("on") for _, attrs in shown.tags for key in attrs)
    assert "<script>alert(1)<" in shown.text and "{{ 7 * 7 }}" in shown.text


def test_an_interrupted_run_has_a_page_that_says_so(finished):
    (finished / "summary.json").write_text(json.dumps({"status": "interrupted", "steps": 640}))
    metrics = finished / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 1210, "lo')
    (finished / "kernels" / "001200.npz").write_bytes(b"PK\x03\x04 and no more")

    text = Page(page.write_page(finished)).text

    assert "This run was interrupted." in text
    assert "97\u202f% of the validation images named correctly, after 640 steps." in text
    assert "The last line of metrics.jsonl is cut off" in text
    assert "kernels/001200.npz could not be read" in text
    assert "step 1,100" in text


def test_a_run_that_diverged_has_a_page_that_says_so(finished, rng):
    lines = [{"step": s, "loss": 1.0 if s < 30 else float("nan")} for s in range(0, 60, 10)]
    write_lines(finished / "metrics.jsonl", lines)
    kernel = np.full(SHAPES["stem.kernel"], np.nan, "float32")
    kernel[0, 0] = np.inf
    np.savez(finished / "kernels" / "001300.npz", **{"stem.kernel": kernel})

    text = Page(page.write_page(finished)).text

    assert "The loss stopped being finite at step 30." in text
    assert "400 weights are not finite at the end" in text


def test_an_empty_folder_has_a_page_that_says_so(tmp_path):
    text = Page(page.write_page(tmp_path)).text

    assert "This run has no summary" in text
    assert "There is no metrics.jsonl." in text
    assert "No loss or accuracy was logged." in text
    assert "No kernels were logged." in text


def test_one_snapshot_and_one_line_are_enough(tmp_path, rng):
    write_kernels(tmp_path, [0], {"conv.kernel": (3, 3, 1, 4)}, rng)
    write_lines(tmp_path / "metrics.jsonl", [{"step": 0, "loss": 2.3, "accuracy": 0.1}])

    shown = Page(page.write_page(tmp_path))

    assert "Only the kernels of step 0 were logged" in shown.text
    assert "conv.kernel at step 0" in shown.attributes("alt")
    assert "relative change" not in shown.text


def test_broken_files_are_remarked_on(finished):
    (finished / "metrics.jsonl").write_text('nonsense\n[1]\n{"step": -1}\n{"step": 5, "loss": 1}\n')
    (finished / "environment.json").write_text("[]")
    (finished / "summary.json").write_text("{")
    (finished / "layers.json").write_text('["conv", 3]')
    (finished / "target.npz").write_bytes(b"")

    text = Page(page.write_page(finished)).text

    assert "Lines of metrics.jsonl that could not be read: 3." in text
    for name in ("environment.json", "summary.json", "target.npz"):
        assert f"{name} could not be read." in text


@pytest.mark.parametrize("name", ["metrics.jsonl", "target.npz", "summary.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name, finished):
    (finished / name).unlink(missing_ok=True)
    os.mkfifo(finished / name)
    assert f"{name} could not be read." in Page(page.write_page(finished)).text


def test_arrays_that_would_fill_the_memory_are_not_unpacked(finished, monkeypatch):
    with zipfile.ZipFile(finished / "target.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2048, 2048), }\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("kernel.npy", start + bytes(2**24))
    assert read_run(finished).target is not None
    monkeypatch.setattr("jconv.report.run_reader.DEFAULT_MEMORY", 2**24)
    assert "target.npz could not be read." in read_run(finished).remarks


def test_arrays_that_claim_to_be_endless_are_left_out(finished):
    with zipfile.ZipFile(finished / "target.npz", "w") as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("kernel.npy", start)
    assert "target.npz could not be read." in read_run(finished).remarks


def test_a_sweep_has_no_page_of_its_own(finished):
    (finished / "sweep.yaml").write_text("")
    with pytest.raises(ValueError, match="a sweep, whose runs have a page each. `jconv compare"):
        page.write_page(finished)


def test_a_page_replaces_the_last_one_and_leaves_nothing_beside_it(finished):
    before = set(os.listdir(finished))
    page.write_page(finished)
    (finished / "summary.json").write_text(json.dumps({"status": "failed", "error": "no memory"}))

    text = Page(page.write_page(finished)).text

    assert "This run failed. no memory" in text
    assert set(os.listdir(finished)) == before | {"report.html"}


def test_a_run_that_is_not_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`run` must be the folder of a run"):
        page.write_page(tmp_path / "nowhere")


def test_loss_is_logarithmic_only_over_more_than_two_decades():
    def loss(last):
        return curves.chart("Loss", {"": [(0, 1.0), (10, last)]}, last_step=10)

    assert loss(0.009).y.log and not loss(0.02).y.log and not loss(-1.0).y.log
    assert loss(0.02).y.ticks[0] == (0.0, "0")
    assert [label for _, label in loss(1e-7).y.ticks] == ["10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"]


@pytest.mark.parametrize("last", [0, 1, 3, 10, 360, 1200, 20_000, 10**18])
def test_steps_are_whole_and_few(last):
    axis = curves.step_axis(last)

    steps = [int(label.replace(",", "")) for _, label in axis.ticks]
    assert 2 <= len(steps) <= 5
    assert [axis.place(step) for step in steps] == [place for place, _ in axis.ticks]
    assert steps[0] == 0 and len(set(np.diff(steps))) == 1 and axis.high == max(last, 1)


@pytest.mark.parametrize("low, high", [(0, 0), (3.2, 3.2), (-4, -4), (-1, 7), (0.97, 0.991)])
@pytest.mark.parametrize("log", [False, True])
def test_an_axis_holds_its_values_between_distinct_ticks(low, high, log):
    axis = curves.value_axis([low, high, float("nan")], log=log)

    labels = [label for _, label in axis.ticks]
    assert len(labels) == len(set(labels)) >= 2
    assert (axis.ticks[0][0], axis.ticks[-1][0]) == (0, 100)
    assert all(0 <= axis.place(v) <= 100 for v in (low, high) if v > 0 or not log)


def test_a_point_that_is_not_a_number_breaks_the_curve():
    points = [(0, 1.0), (1, 2.0), (2, float("nan")), (3, 1.0), (4, 2.0)]

    curve = curves.chart("", {"": points}, last_step=4).curves[0]

    assert curve.path == "M0 50L25 0M75 50L100 0"
    assert len(curve.dots) == 4
    assert curve.points[2][2] == "not a number"


def test_long_curves_are_averaged():
    points = [(step, float(step % 2)) for step in range(10_000)]

    chart = curves.chart("", {"": points}, last_step=9_999)

    assert len(chart.curves[0].points) <= curves.POINTS
    assert chart.together == 34
    assert {value for _, _, value in chart.curves[0].points} == {"0.5"}


@pytest.fixture
def replicated(finished, rng):
    """The finished run, as if it had been trained eight times at once."""
    lines = [
        line
        | {f"{key}_error": 0.03 * line[key] for key in ("loss", "grad_norm")}
        | {"accuracy_error": 0.02 * (1.05 - line["accuracy"])}
        | ({"validation_accuracy_error": 0.01} if "validation_accuracy" in line else {})
        for line in metrics(rng)
    ]
    write_lines(finished / "metrics.jsonl", lines)
    found = SUMMARY | {"test_accuracy_error": 0.0021, "test_loss_error": 0.0012}
    table = rng.poisson(0.4, size=(10, 10)) * 2 + np.eye(10, dtype=int) * 280
    table[8, 1] = 23
    found |= {"test_images": int(table.sum()) // 8, "test_confusion": table.tolist()}
    (finished / "summary.json").write_text(json.dumps(found))
    return finished


def test_replicates_are_shown_with_their_standard_error(replicated):
    shown = Page(page.write_page(replicated))
    text = shown.sentences()

    assert "98.9\u202f% ± 0.2\u202f% of" in text
    assert text.count("98.9\u202f% ± 0.2\u202f%") == 2 and "0.0421 ± 0.0012" in text
    assert "accuracy error" not in text and "test confusion" not in text
    bands = [attrs for tag, attrs in shown.tags if (attrs.get("class") or "").startswith("band")]
    # Loss and accuracy of training, accuracy of validation, and the norm of the gradient.
    assert len(bands) == 4
    assert "the bands are one standard error of the mean" in text


def test_a_run_without_replicates_has_no_bands(finished):
    shown = Page(page.write_page(finished))
    assert not any((attrs.get("class") or "").startswith("band") for _, attrs in shown.tags)
    assert "±" not in shown.text and "standard error" not in shown.text


def test_a_band_reaches_one_standard_error_to_either_side():
    chart = curves.chart(
        "", {"a": [(0, 1.0), (4, 3.0)]}, last_step=4, errors={"a": [(0, 1.0), (4, 1.0)]}
    )
    assert (chart.y.low, chart.y.high) == (0, 4)
    assert chart.curves[0].band == "M0 50L100 0L100 50L0 100Z"
    assert chart.curves[0].points[1][2] == "3.0 ± 1.0"

    share = curves.chart("", {"a": [(0, 0.99), (4, 0.98)]}, last_step=4, share=True,
                         errors={"a": [(0, 0.05), (4, 0.0)]})  # fmt: skip
    assert share.y.high == 1.0


def test_a_band_below_a_logarithmic_axis_ends_at_its_foot():
    chart = curves.chart("", {"a": [(0, 1.0), (4, 1e-4)]}, last_step=4, log=True,
                         errors={"a": [(0, 0.1), (4, 1e-3)]})  # fmt: skip
    assert chart.y.low == 1e-4 and chart.curves[0].band.split("L")[2] == "100 100"


def test_a_band_breaks_where_there_is_no_number():
    points = [(step, float("nan") if step == 2 else 1.0) for step in range(5)]
    errors = [(step, 0.5) for step in range(5)]
    chart = curves.chart("", {"a": points}, last_step=4, errors={"a": errors})
    assert chart.curves[0].band.count("M") == chart.curves[0].band.count("Z") == 2


def test_the_confusion_table_counts_what_was_taken_for_what(replicated):
    shown = Page(page.write_page(replicated))

    cells = [attrs for tag, attrs in shown.tags if tag == "td" and "title" in attrs]
    worst = next(attrs for attrs in cells if attrs["title"].startswith("8 taken for 1: 23, "))
    assert worst["class"] == "wrong dark" and worst["style"] == "--shade: 1.0"
    right = [attrs for attrs in cells if attrs["class"].startswith("right")]
    assert len(right) == 10 and all("dark" in attrs["class"] for attrs in right)
    text = shown.sentences()
    assert "Most often taken wrongly: 8 for 1 (23)" in text
    assert "summed over 8 replicates" in text


@pytest.mark.parametrize(
    "table",
    [
        [[3, 1], [0]],
        [[1, 2], [3, "x"]],
        [[1, -1], [0, 1]],
        [[1, None], [0, 1]],
        "table",
        [[5]],
        [[1] * 101] * 101,
    ],
)
def test_what_is_no_confusion_table_is_left_out(table, finished):
    (finished / "summary.json").write_text(json.dumps(SUMMARY | {"test_confusion": table}))
    shown = Page(page.write_page(finished))
    assert "What was taken for what" not in shown.text and "confusion" not in shown.text


def test_a_large_confusion_table_has_shades_and_no_numbers(finished, rng):
    table = (np.eye(100, dtype=int) * 90 + rng.poisson(0.1, size=(100, 100))).tolist()
    names = [HOSTILE[:-1], *map(str, range(99))]
    found = SUMMARY | {"test_confusion": table, "classes": names}
    (finished / "summary.json").write_text(json.dumps(found))
    path = page.write_page(finished)
    shown = Page(path)
    assert [tag for tag, _ in shown.tags].count("script") == 1
    assert "{{ 7 * 7 }}" in shown.text and path.stat().st_size < 1_500_000
    assert 'class="confusion"' in shown.raw


def test_nothing_taken_wrongly(finished):
    found = SUMMARY | {"test_confusion": [[3, 0, 0], [0, 2, 0], [0, 0, 0]]}
    (finished / "summary.json").write_text(json.dumps(found))
    assert "Nothing was taken wrongly." in Page(page.write_page(finished)).text
