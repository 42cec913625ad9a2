import pytest
from PIL import Image

from jconv.cli import main


def test_pretrained_weights_classify_photographs(tmp_path, capsys):
    skimage_data = pytest.importorskip("skimage.data")
    paths = []
    for name in ("coffee", "chelsea"):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(getattr(skimage_data, name)()).save(paths[-1])
    assert main(["predict", "efficientnet_lite0", *map(str, paths), "--top", "1"]) == 0
    output = capsys.readouterr().out
    assert "967 espresso" in output
    assert any(f"{index} " in output for index in range(281, 286))  # ImageNet's breeds of cats


def test_all_unreadable_images_are_reported(tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG not really")
    assert main(["predict", "efficientnet_lite0", str(broken), "none.jpg"]) == 2
    error = capsys.readouterr().err
    assert str(broken) in error and "none.jpg: no such file" in error
    assert main(["predict", "xception", str(broken)]) == 2


def test_unknown_network(capsys):
    assert main(["predict", "resnet", "none.jpg"]) == 2
    assert "`MODEL` must be one of" in capsys.readouterr().err


def test_no_image(capsys):
    assert main(["predict", "efficientnet_lite0"]) == 2
    assert "`IMAGE` must be at least one file. Received: none." in capsys.readouterr().err
