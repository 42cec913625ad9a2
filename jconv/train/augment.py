"""Random augmentation of the images of a step, computed on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jconv.train.config import Augment
from jconv.train.losses import soft_targets

Images = Float[Array, "n h w c"]
Key = Shaped[Array, "..."]


def augment_batch(
    images: Float[Array, "n *shape"],
    targets: Shaped[Array, "n ..."],
    config: Augment,
    classes: int,
    key: Key,
) -> tuple[Float[Array, "n *shape"], Shaped[Array, "n ..."]]:
    """Return the augmented images and targets of a batch.

    Args:
      images: the batch's images, or other inputs if the config augments nothing.
      targets: the batch's targets.
      config: the config's `augment` section.
      classes: outputs of the network, the length of mixed targets.
      key: random key; equal keys give equal images.
    """
    keys = jax.random.split(key, 4)
    if config.shift:
        images = shift(images, config.shift, keys[0])
    if config.flip:
        images = flip(images, keys[1])
    if config.cutout:
        images = cutout(images, config.cutout, keys[2])
    if config.mixup:
        images, targets = mixup(images, soft_targets(targets, classes), config.mixup, keys[3])
    return images, targets


def shift(images: Images, pixels: int, key: Key) -> Images:
    """Move each image by up to `pixels` rows and columns at random, repeating its edge."""
    padded = jnp.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)], mode="edge")
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)

    def crop(image, offset):
        return jax.lax.dynamic_slice(image, (*offset, 0), images.shape[1:])

    return jax.vmap(crop)(padded, offsets)


def flip(images: Images, key: Key) -> Images:
    """Mirror each image horizontally with probability one half."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def cutout(images: Images, side: int, key: Key) -> Images:
    """Set a square of `side` pixels to zero, whose centre is drawn uniformly from the image.

    Reference: DeVries & Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout" (2017).
    """
    n, *sizes, _ = images.shape
    centres = jax.random.randint(key, (n, 2), 0, jnp.array(sizes))
    inside = [
        (jnp.arange(size) >= first[:, None]) & (jnp.arange(size) < first[:, None] + side)
        for size, first in zip(sizes, (centres - side // 2).T, strict=True)
    ]
    square = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(square, 0, images)


def mixup(
    images: Images, targets: Float[Array, "n classes"], alpha: float, key: Key
) -> tuple[Images, Float[Array, "n classes"]]:
    """Mix each image and its class probabilities with those of another example of the batch.

    Args:
      images: the batch's images.
      targets: the class probabilities of each image.
      alpha: both parameters of the Beta distribution of the mixing weight.
      key: draws the weight, one for the batch, and the pairs.

    Reference: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2017).
    """
    weight_key, order_key = jax.random.split(key)
    weight = jax.random.beta(weight_key, alpha, alpha)
    partners = jax.random.permutation(order_key, len(images))
    mix = lambda x: weight * x + (1 - weight) * x[partners]
    return mix(images), mix(targets)
