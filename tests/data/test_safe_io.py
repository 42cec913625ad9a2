"""Paths that are not regular files, links that lead out of a folder, and unreadable files."""

import os

import numpy as np
import pytest
from helpers.data_files import write_image_folder, write_mnist

from jconv.data import BadFile, load_image_folder, load_mnist, load_npz
from jconv.data.safe_io import open_file


def test_pipes_devices_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path, file_type in (
        (tmp_path / "pipe", "a pipe"),
        (tmp_path / "folder", "a folder"),
        ("/dev/zero", "a device"),
    ):
        with pytest.raises(BadFile, match=f"must be a file. Received: {file_type}"):
            load_npz(path)
    folder = write_mnist(tmp_path / "data")
    (folder / "train-images-idx3-ubyte").unlink()
    os.mkfifo(folder / "train-images-idx3-ubyte")
    with pytest.raises(BadFile, match="train-images-idx3-ubyte: must be a file. Received: a pipe"):
        load_mnist(folder)


def test_links_within_the_folder_are_followed_and_links_out_of_it_are_refused(tmp_path):
    folder = write_mnist(tmp_path / "data")
    (folder / "t10k-images-idx3-ubyte").rename(folder / "elsewhere")
    (folder / "t10k-images-idx3-ubyte").symlink_to("elsewhere")
    load_mnist(folder)
    (folder / "elsewhere").rename(tmp_path / "secret")
    (folder / "t10k-images-idx3-ubyte").unlink()
    (folder / "t10k-images-idx3-ubyte").symlink_to("../secret")
    with pytest.raises(BadFile, match=rf"must lie in .*a link to {tmp_path}/secret. Copy"):
        load_mnist(folder)


def test_broken_and_circular_links_are_refused(tmp_path):
    (tmp_path / "broken").symlink_to("missing")
    (tmp_path / "circular").symlink_to("circular")
    for name in ("broken", "circular"):
        with pytest.raises(BadFile, match=f"{name}: must be a file that can be read"):
            load_npz(tmp_path / name)


def test_permission_errors_are_reported(tmp_path, monkeypatch):
    # Root may read everything, so the error is simulated.
    def deny(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "data.npz"
    path.write_bytes(b"PK")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", deny)
        with pytest.raises(BadFile, match="data.npz: must be a file that can be read. .*Permiss"):
            load_npz(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", deny)
        with pytest.raises(BadFile, match="must be a folder that can be listed. .*Permission"):
            load_image_folder(tmp_path, size=(8, 8))


def test_links_out_of_an_image_folder_are_refused(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    (folder / "cat" / "link.png").symlink_to("0.png")
    load_image_folder(folder, size=(8, 8))
    outside = write_image_folder(tmp_path / "outside")
    (folder / "cat" / "out.png").symlink_to(outside / "cat" / "0.png")
    for max_skipped in (0, 5):  # such a link is not an image that may be skipped
        with pytest.raises(BadFile, match="out.png: must lie in .* a link to .*outside/cat"):
            load_image_folder(folder, size=(8, 8), max_skipped=max_skipped)
    (folder / "cat" / "out.png").unlink()
    (folder / "bird").symlink_to(outside / "cat")
    with pytest.raises(BadFile, match="bird: must lie in"):
        load_image_folder(folder, size=(8, 8))


def test_file_replaced_by_a_link_after_listing_is_refused(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    data = load_image_folder(folder, size=(8, 8), memory=1000)
    for path in folder.rglob("*.png"):
        path.unlink()
        path.symlink_to("/etc/hostname")
    with pytest.raises(BadFile, match="must lie in"):
        data.train.take(np.array([0]))


def test_file_replaced_by_a_link_while_it_is_opened_is_refused(tmp_path, monkeypatch):
    path, secret, stat = tmp_path / "data", tmp_path / "secret", os.stat
    path.write_text("data")
    secret.write_text("secret")

    def replace_after_stat(checked, **kwargs):
        result = stat(checked, **kwargs)
        if checked == path and not kwargs:
            path.unlink()
            path.symlink_to(secret)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", replace_after_stat)
        with pytest.raises(BadFile, match="data: must be a file that can be read"):
            open_file(path)
    assert path.is_symlink()


def test_file_names_that_are_not_utf8_are_refused_with_a_printable_error(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    path = os.path.join(os.fsencode(folder / "cat"), b"\xff\x1b[2J.png")
    with open(path, "wb"):
        pass
    with pytest.raises(BadFile) as error:
        load_image_folder(folder, size=(8, 8))
    assert r"\udcff\x1b[2J.png: must have a name in UTF-8" in str(error.value)
    str(error.value).encode()


def test_path_with_a_null_byte_is_refused(tmp_path):
    with pytest.raises(ValueError, match="null (byte|character)"):
        open_file(tmp_path / "a\0b")
