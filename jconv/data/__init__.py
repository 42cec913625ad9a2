"""Data: what a run learns from, as arrays."""

from jconv.data.batches import batches as batches
from jconv.data.digits import load_digits as load_digits
from jconv.data.photos import load_filtered_photos as load_filtered_photos
from jconv.data.split import Split as Split
from jconv.data.split import Splits as Splits
