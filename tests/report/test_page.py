"""The report of a run."""

import json
import os
import re

import numpy as np
import pytest
from helpers.pages import Page
from helpers.runs import SHAPES, write_kernels

from jconv.analysis import kernel_images
from jconv.report import kernel_timeline
from jconv.report.formatting import number
from jconv.report.page import write_page


def test_page_is_self_contained(finished):
    path = write_page(finished)
    page = Page(path)

    assert path == finished / "report.html"
    assert "http:" not in page.raw and "https:" not in page.raw and "@import" not in page.raw
    assert page.attributes("href") == []
    assert all(src.startswith("data:image/png;base64,") for src in page.attributes("src"))
    assert re.findall(r"url\((?!data:image/png;base64,)", page.raw) == []
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert path.stat().st_size < 1_000_000


def test_page_shows_first_and_last_kernel_of_every_layer(finished):
    page = Page(write_page(finished))

    alts = page.attributes("alt")
    for name in SHAPES:
        assert name in page.text
        assert {f"{name} at step 0", f"{name} at step 1,200"} <= set(alts)
        assert sum(alt.startswith(f"{name} at ") for alt in alts) == kernel_timeline.STRIP_LENGTH
        assert f"{name}, last minus first" in alts
    sheets = [picture for picture in page.pictures() if picture.height > 2 * picture.width]
    assert len(sheets) >= len(SHAPES)


def test_slider_contains_every_snapshot(finished):
    page = Page(write_page(finished))

    slider = next(attrs for tag, attrs in page.tags if attrs.get("type") == "range")
    labels = json.loads(slider["data-labels"])
    assert [label for label, _ in labels] == [f"step {s:,}" for s in range(0, 1201, 100)]
    assert slider["max"] == "12"
    assert any(attrs.get("for") == "step" for tag, attrs in page.tags if tag == "label")
    # The sheet has one frame per position of the slider: a 4 x 4 grid of 5 x 5 for the stem.
    scale = kernel_images.scale_to_fit(SHAPES["stem.kernel"], kernel_timeline.SIZE)
    frame = 20 * scale + 3 * round(0.4 * scale)
    assert (frame, 13 * frame) in [picture.size for picture in page.pictures()]


def test_many_snapshots_are_thinned_including_first_and_last(tmp_path, rng):
    write_kernels(tmp_path, range(0, 1001, 10), {"conv.kernel": (3, 3, 1, 4)}, rng)

    page = Page(write_page(tmp_path))

    labels = json.loads(page.attributes("data-labels")[0])
    assert len(labels) == kernel_timeline.MAX_FRAMES
    assert (labels[0][0], labels[-1][0]) == ("step 0", "step 1,000")
    assert "60 of the 101 logged steps" in page.text


def test_all_steps_of_a_layer_share_one_colour_scale(tmp_path):
    (tmp_path / "kernels").mkdir()
    for step, kernel in enumerate(np.float32([[[0.5, -0.5]], [[0.5, -2.0]], [[0.0, -1.0]]])):
        np.savez(tmp_path / "kernels" / f"{step}.npz", **{"dense.kernel": kernel})

    page = Page(write_page(tmp_path))

    pixels = [np.array(p.convert("RGB"))[0] for p in page.pictures()]
    sheet, *strip, change = [row[[0, -1]].tolist() for row in pixels]
    expected = np.array([[0.5, -0.5], [0.5, -2.0], [0.0, -1.0], [-0.5, -0.5]])
    colours = kernel_images.kernel_image(expected, limit=2.0, scale=1).tolist()
    assert [*strip, change] == colours
    assert sheet == colours[0]


def test_headline_and_metrics_are_those_of_the_summary(finished):
    text = Page(write_page(finished)).text

    assert "98.9\u202f% of 360 test images classified correctly, after 1,200 steps in 24 s." in text
    for figure in ("15,434", "0.04213", "97.9\u202f%", "1,257", "3,158"):
        assert figure in text
    assert "interrupted" not in text
    assert "2026-11-24 03:14 UTC" in text
    assert "856,064" in text  # multiply-adds of all layers
    assert "learning_rate: 0.001" in text


def test_recovery_shows_hidden_and_learned_kernel_and_difference(recovery):
    text = Page(write_page(recovery)).text

    difference = np.load(recovery / "kernels" / "000400.npz")["conv.kernel"].squeeze()
    difference -= np.load(recovery / "target.npz")["kernel"]
    worst = number(float(np.abs(difference).max()), 3)
    assert "The learned kernel differs from the hidden one by at most" in text
    assert f"The last learned kernel differs from the hidden one by at most {worst}" in text
    assert text.count("−1.000") == 6  # the left column, hidden and learned
    power = int(np.floor(np.log10(np.abs(difference).max())))
    assert f"{difference.min() / 10.0**power:.3f}".replace("-", "−") in text
    assert f"in units of {number(10.0**power)}" in text
    assert "Largest difference from the hidden kernel" in text
    assert "Accuracy" not in text


def test_large_hidden_kernel_is_an_image_without_numbers(tmp_path):
    np.savez(tmp_path / "target.npz", kernel=np.ones((40, 40), "float32"))

    page = Page(write_page(tmp_path))

    assert "hidden kernel" in page.attributes("alt")
    assert "1.000" not in page.text


def test_replicates_have_standard_errors_and_bands(replicated):
    page = Page(write_page(replicated))
    text = page.sentences()

    assert "98.9\u202f% ± 0.2\u202f% of" in text
    assert text.count("98.9\u202f% ± 0.2\u202f%") == 2 and "0.0421 ± 0.0012" in text
    assert "accuracy error" not in text and "test confusion" not in text
    bands = [attrs for tag, attrs in page.tags if (attrs.get("class") or "").startswith("band")]
    # Loss and accuracy of training, accuracy of validation, and the norm of the gradient.
    assert len(bands) == 4
    assert "bands show one standard error of the mean" in text


def test_run_without_replicates_has_no_bands(finished):
    page = Page(write_page(finished))
    assert not any((attrs.get("class") or "").startswith("band") for _, attrs in page.tags)
    assert "±" not in page.text and "standard error" not in page.text


def test_page_of_a_sweep_is_an_error(finished):
    (finished / "sweep.yaml").write_text("")
    with pytest.raises(ValueError, match="a sweep, whose runs have a report each. `jconv compare"):
        write_page(finished)


def test_page_replaces_the_previous_one_without_temporary_files(finished):
    before = set(os.listdir(finished))
    write_page(finished)
    (finished / "summary.json").write_text(json.dumps({"status": "failed", "error": "no memory"}))

    text = Page(write_page(finished)).text

    assert "This run failed. no memory" in text
    assert set(os.listdir(finished)) == before | {"report.html"}


def test_missing_run_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="`run` must be the folder of a run"):
        write_page(tmp_path / "nowhere")
