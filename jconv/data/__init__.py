"""Data sets, loaded into memory or read on demand, and the order of their batches.

Files are validated before use: sizes before memory is allocated, formats before they are decoded.
No code in a file is run. Every problem is a `ValueError` that names the file and what to do.
"""

from jconv.data.batches import batch_indices as batch_indices
from jconv.data.batches import batch_indices_at as batch_indices_at
from jconv.data.dataset import Examples as Examples
from jconv.data.dataset import Source as Source
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
from jconv.data.splitting import random_splits as random_splits
from jconv.data.stream import stream as stream
