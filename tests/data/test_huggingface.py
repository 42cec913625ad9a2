"""Data sets of Hugging Face, loaded from folders."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from jconv.data import BadFile, Examples, load_huggingface


def test_error_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'jconv\[huggingface\]'"):
        load_huggingface("mnist", size=(8, 8))


def image_bytes(red, format="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (12, 9), (red, 0, 0)).save(file, format)
    return file.getvalue()


@pytest.fixture
def write_dataset(tmp_path):
    """A function that writes 20 training and 6 test images and returns their folder."""
    datasets = pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write(images=None, labels=None, names=("cat", "dog")):
        features = datasets.Features(
            picture=datasets.Image(),
            kind=datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64"),
        )
        images = images or [image_bytes(100 * (i % 2)) for i in range(20)]
        labels = labels or [i % 2 for i in range(20)]
        cells = [{"bytes": content, "path": None} for content in images]
        folder = tmp_path / "data"
        folder.mkdir()
        for split, count in {"train": 20, "test": 6}.items():
            columns = {"picture": cells[:count], "kind": labels[:count]}
            table = pyarrow.Table.from_pydict(columns, schema=features.arrow_schema)
            parquet.write_table(table, folder / f"{split}.parquet")
        return str(folder)

    return write


OPTIONS = dict(size=(9, 12), image="picture", label="kind")


def test_data_set_is_loaded_as_scaled_floats_with_integer_labels(write_dataset):
    path = write_dataset()
    data = load_huggingface(path, **OPTIONS)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 2, 6]
    assert data.input_shape == (9, 12, 3) and data.classes == ("cat", "dog") and data.outputs == 2
    np.testing.assert_allclose(
        data.train.inputs[:, 0, 0, 0], 100 * data.train.targets / 127.5 - 1, atol=1e-6
    )
    lazy = load_huggingface(path, **OPTIONS, memory=1000)
    assert not isinstance(lazy.train, Examples) and not isinstance(lazy.test, Examples)
    np.testing.assert_array_equal(lazy.train.take(np.arange(18)).inputs, data.train.inputs)
    single = load_huggingface(path, **OPTIONS, test_split=None)
    assert [len(part) for part in (single.train, single.validation, single.test)] == [14, 2, 4]


def test_data_set_saved_by_save_to_disk_is_loaded(write_dataset, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = write_dataset()
    datasets.load_dataset(path).save_to_disk(tmp_path / "saved")
    expected, saved = (load_huggingface(p, **OPTIONS) for p in (path, str(tmp_path / "saved")))
    np.testing.assert_array_equal(saved.train.inputs, expected.train.inputs)
    with pytest.raises(BadFile, match="with a split 'tset'"):
        load_huggingface(str(tmp_path / "saved"), **OPTIONS, split="tset")
    datasets.load_dataset(path, split="train").save_to_disk(tmp_path / "single")
    with pytest.raises(BadFile, match="with a split 'test'"):
        load_huggingface(str(tmp_path / "single"), **OPTIONS)
    single = load_huggingface(str(tmp_path / "single"), **OPTIONS, test_split=None)
    assert len(single.train) == 14


def test_undecodable_image_is_refused_with_its_row(write_dataset):
    with pytest.raises(BadFile, match=r"'train', row 3: must be a PNG or JPEG"):
        load_huggingface(
            write_dataset([image_bytes(0)] * 3 + [b"%!PS"] + [image_bytes(0)] * 16), **OPTIONS
        )


def test_undecodable_image_is_skipped_within_the_limit(write_dataset):
    with pytest.warns(UserWarning, match="row 8: must be a PNG or JPEG"):
        data = load_huggingface(
            write_dataset([image_bytes(0)] * 8 + [b"%!PS"] + [image_bytes(0)] * 11),
            **OPTIONS,
            max_skipped=1,
        )
    assert len(data.train) + len(data.validation) == 19


def test_other_image_formats_are_refused(write_dataset):
    with pytest.raises(BadFile, match="row 0: must be a PNG or JPEG"):
        load_huggingface(write_dataset([image_bytes(0, "TIFF")] * 20), **OPTIONS)


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(image="img"), r"`image` must be one of its columns, \['picture', 'kind'\]"),
        (dict(label="fine"), "`label` must be one of its columns"),
        (dict(image="kind"), "column 'kind' must hold images"),
        (dict(test_split="tset"), "with a split 'tset'"),
    ],
)
def test_missing_columns_and_splits_are_refused(options, expected, write_dataset):
    path = write_dataset()
    with pytest.raises(BadFile, match=expected):
        load_huggingface(path, **OPTIONS | options)


def test_labels_out_of_range_are_refused(write_dataset):
    with pytest.raises(BadFile, match="from 0 to 1. Received: -1"):
        load_huggingface(write_dataset(labels=[-1] + [0] * 19), **OPTIONS)


def test_class_without_images_is_refused(write_dataset):
    with pytest.raises(BadFile, match="must have an image. Received: none of 1"):
        load_huggingface(write_dataset(labels=[0, 2] * 10, names=None), **OPTIONS)


def test_code_in_a_folder_is_not_run(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.py").write_text("raise SystemExit('code in the folder was run')")
    with pytest.raises(BadFile, match="must be a data set that `datasets` loads"):
        load_huggingface(str(tmp_path / "data"), **OPTIONS)
