"""Reports of runs that were interrupted, diverged, or have missing, corrupt or hostile files."""

import json
import os
import zipfile

import numpy as np
import pytest
from helpers.pages import Page, write_lines
from helpers.runs import HOSTILE, SHAPES, write_kernels

from jconv.report.page import write_page
from jconv.report.run_reader import read_run


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

    page = Page(write_page(run))

    assert [tag for tag, _ in page.tags].count("script") == 1
    assert all(attrs["src"].startswith("data:") for tag, attrs in page.tags if tag == "img")
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert "<script>alert(1)<" in page.text and "{{ 7 * 7 }}" in page.text


def test_page_of_an_interrupted_run_lists_incomplete_files(finished):
    (finished / "summary.json").write_text(json.dumps({"status": "interrupted", "steps": 640}))
    metrics = finished / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 1210, "lo')
    (finished / "kernels" / "001200.npz").write_bytes(b"PK\x03\x04 and no more")

    text = Page(write_page(finished)).text

    assert "This run was interrupted." in text
    assert "97\u202f% of the validation images classified correctly, after 640 steps." in text
    assert "The last line of metrics.jsonl is incomplete" in text
    assert "kernels/001200.npz could not be read" in text
    assert "step 1,100" in text


def test_page_of_a_diverged_run_names_the_step(finished, rng):
    lines = [{"step": s, "loss": 1.0 if s < 30 else float("nan")} for s in range(0, 60, 10)]
    write_lines(finished / "metrics.jsonl", lines)
    kernel = np.full(SHAPES["stem.kernel"], np.nan, "float32")
    kernel[0, 0] = np.inf
    np.savez(finished / "kernels" / "001300.npz", **{"stem.kernel": kernel})

    text = Page(write_page(finished)).text

    assert "The loss became non-finite at step 30." in text
    assert "400 weights are not finite at the end" in text


def test_page_of_an_empty_folder(tmp_path):
    text = Page(write_page(tmp_path)).text

    assert "This run has no summary" in text
    assert "There is no metrics.jsonl." in text
    assert "No loss or accuracy was logged." in text
    assert "No kernels were logged." in text


def test_page_of_one_snapshot_and_one_logged_step(tmp_path, rng):
    write_kernels(tmp_path, [0], {"conv.kernel": (3, 3, 1, 4)}, rng)
    write_lines(tmp_path / "metrics.jsonl", [{"step": 0, "loss": 2.3, "accuracy": 0.1}])

    page = Page(write_page(tmp_path))

    assert "Only the kernels of step 0 were logged" in page.text
    assert "conv.kernel at step 0" in page.attributes("alt")
    assert "relative change" not in page.text


def test_corrupt_files_are_remarks(finished):
    (finished / "metrics.jsonl").write_text('nonsense\n[1]\n{"step": -1}\n{"step": 5, "loss": 1}\n')
    (finished / "environment.json").write_text("[]")
    (finished / "summary.json").write_text("{")
    (finished / "layers.json").write_text('["conv", 3]')
    (finished / "target.npz").write_bytes(b"")

    text = Page(write_page(finished)).text

    assert "Lines of metrics.jsonl that could not be read: 3." in text
    for name in ("environment.json", "summary.json", "target.npz"):
        assert f"{name} could not be read." in text


@pytest.mark.parametrize("name", ["metrics.jsonl", "target.npz", "summary.json"])
def test_named_pipe_is_not_read(name, finished):
    (finished / name).unlink(missing_ok=True)
    os.mkfifo(finished / name)
    assert f"{name} could not be read." in Page(write_page(finished)).text


def test_array_larger_than_the_memory_limit_is_not_decompressed(finished, monkeypatch):
    with zipfile.ZipFile(finished / "target.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2048, 2048), }\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("kernel.npy", start + bytes(2**24))
    assert read_run(finished).target is not None
    monkeypatch.setattr("jconv.report.run_reader.DEFAULT_MEMORY", 2**24)
    assert "target.npz could not be read." in read_run(finished).remarks


def test_array_with_a_false_shape_is_ignored(finished):
    with zipfile.ZipFile(finished / "target.npz", "w") as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("kernel.npy", start)
    assert "target.npz could not be read." in read_run(finished).remarks
