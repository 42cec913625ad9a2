import pytest

from jconv.cli import main


@pytest.fixture
def print_summary(monkeypatch, capsys):
    """Function that runs `jconv summary` on a terminal of 80 columns and returns its lines."""

    def run(*arguments):
        monkeypatch.setenv("COLUMNS", "80")
        assert main(["summary", *arguments]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        return lines

    return run


def row_of(lines, name):
    """Return the words of a layer's row."""
    return next(words for line in lines if (words := line.split()) and words[0] == name)


def test_published_network(print_summary):
    lines = print_summary("googlenet")
    assert row_of(lines, "conv1")[1:4] == ["112x112x64", "9,536", "118,013,952"]
    # 192 channels to 64; 96, 128 of 3x3; 16, 32 of 3x3; 32: 155,136 weights, and 736 of norms.
    assert row_of(lines, "inception3a")[1:5] == ["28x28x256", "155,872", "121,626,624", "43x43"]
    assert row_of(lines, "pool")[-2:] == ["all", "inception5b"]
    assert row_of(lines, "total")[1:] == ["6,624,904", "1,498,376,192"]
    assert any("batch_norm=True" in line for line in lines)


def test_size_and_depth(print_summary, capsys):
    lines = print_summary("googlenet", "--size", "65", "--depth", "2")
    assert row_of(lines, "conv1.conv")[1] == "33x33x64"
    assert row_of(lines, "conv1.norm")[-1] == "conv"
    assert row_of(lines, "inception5b.join")[1] == "2x2x1024"
    assert main(["summary", "googlenet", "--size", "14"]) == 2
    assert "`--size` must be at least 15 for googlenet. Received: 14." in capsys.readouterr().err


def test_origin_is_printed(print_summary):
    assert any("origin='tensorflow'" in line for line in print_summary("efficientnet_lite0"))
