"""Data: what a run learns from, as arrays or read as it is needed.

What is read from files is checked before it is believed: sizes before memory is taken, formats
before they are decoded; nothing in a file is run. What is wrong is a `ValueError` that names it.
"""

from jconv.data.batches import batch as batch
from jconv.data.batches import batches as batches
from jconv.data.dataset import Splits as Splits
from jconv.data.digits import load_digits as load_digits
from jconv.data.huggingface import load_huggingface as load_huggingface
from jconv.data.image_folder import load_image_folder as load_image_folder
from jconv.data.mnist import load_fashion_mnist as load_fashion_mnist
from jconv.data.mnist import load_mnist as load_mnist
from jconv.data.npz import load_npz as load_npz
from jconv.data.photos import load_filtered_photos as load_filtered_photos
from jconv.data.photos import load_photos as load_photos
from jconv.data.safe_io import BadFile as BadFile
from jconv.data.source import Source as Source
from jconv.data.split import Split as Split
from jconv.data.stream import stream as stream
