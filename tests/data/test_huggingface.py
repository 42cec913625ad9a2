"""Data sets of Hugging Face, from folders; without the package an error says what to install."""

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


def png(value, form="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (12, 9), (value, 0, 0)).save(file, form)
    return file.getvalue()


@pytest.fixture
def save(tmp_path):
    """Writes a data set of 20 pictures to learn from and 6 to test on."""
    datasets = pytest.importorskip("datasets")
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def write(images=None, labels=None, names=("cat", "dog")):
        features = datasets.Features(
            picture=datasets.Image(),
            kind=datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64"),
        )
        images = images or [png(100 * (i % 2)) for i in range(20)]
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


WHERE = dict(size=(9, 12), image="picture", label="kind")


def test_it_comes_as_numbers(save):
    path = save()
    data = load_huggingface(path, **WHERE)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 2, 6]
    assert data.input_shape == (9, 12, 3) and data.classes == ("cat", "dog") and data.outputs == 2
    np.testing.assert_allclose(
        data.train.inputs[:, 0, 0, 0], 100 * data.train.targets / 127.5 - 1, atol=1e-6
    )
    lazy = load_huggingface(path, **WHERE, memory=1000)
    assert not isinstance(lazy.train, Examples) and not isinstance(lazy.test, Examples)
    np.testing.assert_array_equal(lazy.train.take(np.arange(18)).inputs, data.train.inputs)
    one = load_huggingface(path, **WHERE, test_split=None)
    assert [len(part) for part in (one.train, one.validation, one.test)] == [14, 2, 4]


def test_what_save_to_disk_wrote(save, tmp_path):
    datasets = pytest.importorskip("datasets")
    path = save()
    datasets.load_dataset(path).save_to_disk(tmp_path / "saved")
    expected, found = (load_huggingface(p, **WHERE) for p in (path, str(tmp_path / "saved")))
    np.testing.assert_array_equal(found.train.inputs, expected.train.inputs)
    with pytest.raises(BadFile, match="with a split 'tset'"):
        load_huggingface(str(tmp_path / "saved"), **WHERE, split="tset")
    datasets.load_dataset(path, split="train").save_to_disk(tmp_path / "one")
    with pytest.raises(BadFile, match="with a split 'test'"):
        load_huggingface(str(tmp_path / "one"), **WHERE)
    one = load_huggingface(str(tmp_path / "one"), **WHERE, test_split=None)
    assert len(one.train) == 14


def test_a_picture_that_is_none(save):
    with pytest.raises(BadFile, match=r"'train', row 3: must be a PNG or JPEG"):
        load_huggingface(save([png(0)] * 3 + [b"%!PS"] + [png(0)] * 16), **WHERE)


def test_pictures_that_are_skipped(save):
    with pytest.warns(UserWarning, match="row 8: must be a PNG or JPEG"):
        data = load_huggingface(
            save([png(0)] * 8 + [b"%!PS"] + [png(0)] * 11), **WHERE, max_skipped=1
        )
    assert len(data.train) + len(data.validation) == 19


def test_a_picture_in_another_format(save):
    with pytest.raises(BadFile, match="row 0: must be a PNG or JPEG"):
        load_huggingface(save([png(0, "TIFF")] * 20), **WHERE)


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(image="img"), r"`image` must be one of its columns, \['picture', 'kind'\]"),
        (dict(label="fine"), "`label` must be one of its columns"),
        (dict(image="kind"), "column 'kind' must hold images"),
        (dict(test_split="tset"), "with a split 'tset'"),
    ],
)
def test_columns_and_splits_of_other_names(options, expected, save):
    path = save()
    with pytest.raises(BadFile, match=expected):
        load_huggingface(path, **WHERE | options)


def test_labels_out_of_range(save):
    with pytest.raises(BadFile, match="from 0 to 1. Received: -1"):
        load_huggingface(save(labels=[-1] + [0] * 19), **WHERE)


def test_a_class_that_no_picture_has(save):
    with pytest.raises(BadFile, match="must have an image. Received: none of 1"):
        load_huggingface(save(labels=[0, 2] * 10, names=None), **WHERE)


def test_a_folder_that_is_none(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(BadFile, match="must be a data set that `datasets` loads"):
        load_huggingface(str(tmp_path / "data"), **WHERE)
