"""TensorBoard event files with scalars, images and histograms."""

import io
import os
import socket
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore  # created at import
from tensorboardX.proto.summary_pb2 import HistogramProto, Summary  # pyright: ignore
from tensorboardX.record_writer import RecordWriter

RGB = 3  # the colour space's number in TensorBoard's protocol
BINS = 64  # of a histogram
FLUSH_INTERVAL = 10.0  # seconds


class EventFile:
    """A TensorBoard event file of this process, beside those of earlier processes of the run.

    Each call writes in the calling thread. tensorboardX's `EventFileWriter` uses a thread of its
    own, which blocks forever on a full disk. Its `EventsWriter` leaves the file open if the last
    write fails, which Python 3.13 reports as a second error.

    Args:
      folder: the folder in which the file is created.
      start: the step after which the run continues, 0 for a new run; TensorBoard hides later steps
        that an earlier process has written.
    """

    def __init__(self, folder: Path, start: int = 0):
        folder.mkdir(exist_ok=True)
        resumed = any(folder.iterdir())
        origin = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.{start}"
        self._records = RecordWriter(str(folder / f"events.out.tfevents.{origin}"))
        self._flushed = time.monotonic()
        self._add(0, file_version="brain.Event:2")
        if resumed:
            self._add(start + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a scalar."""
        self._add(step, summary=summary.scalar(name, value))

    def image(self, name: str, image: Image.Image, step: int) -> None:
        """Add an image."""
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
        encoded = Summary.Image(
            width=image.width,
            height=image.height,
            colorspace=RGB,
            encoded_image_string=file.getvalue(),
        )
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, image=encoded)]))

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Add a histogram of finite values."""
        # tensorboardX computes the sum of squares with a dot product, whose BLAS threads keep
        # spinning for the duration of several steps.
        counts, edges = np.histogram(values, bins=BINS)
        histogram = HistogramProto(
            min=values.min(),
            max=values.max(),
            num=values.size,
            sum=values.sum(dtype=np.float64),
            sum_squares=np.square(values, dtype=np.float64).sum(),
            bucket_limit=edges[1:],
            bucket=counts,
        )
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, histo=histogram)]))

    def close(self) -> None:
        """Write buffered events and close the file, also if the disk is full."""
        self._records.close()

    def _add(self, step: int, **content) -> None:
        event = Event(wall_time=time.time(), step=step, **content)
        self._records.write(event.SerializeToString())
        if time.monotonic() - self._flushed > FLUSH_INTERVAL:
            self._records.flush()
            self._flushed = time.monotonic()
