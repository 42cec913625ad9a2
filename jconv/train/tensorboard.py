"""The log as TensorBoard reads it."""

import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore  # made at import
from tensorboardX.proto.summary_pb2 import HistogramProto, Summary  # pyright: ignore  # as well

RGB = 3  # TensorBoard's name of it
BINS = 64  # of a histogram
SELDOM = 10.0  # seconds in which what is written may not be on disk yet


class EventFile:
    """Scalars, pictures and histograms, in a file of their own beside those of earlier processes.

    They are written by who adds them: tensorboardX's own writer has a thread for it, and waits for
    it without end where the disk is full.

    Args:
      folder: where the file is made.
      after: the step after which the run goes on, 0 for one that starts; TensorBoard leaves out
        what a run that was killed wrote after it.
    """

    def __init__(self, folder: Path, after: int = 0):
        folder.mkdir(exist_ok=True)
        goes_on = any(folder.iterdir())
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{after}")
        self._flushed = time.monotonic()
        if goes_on:
            self._add(after + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Adds one number."""
        self._add(step, summary=summary.scalar(name, value))

    def image(self, name: str, picture: Image.Image, step: int) -> None:
        """Adds one picture."""
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        image = Summary.Image(
            width=picture.width,
            height=picture.height,
            colorspace=RGB,
            encoded_image_string=file.getvalue(),
        )
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Adds how finite values are spread."""
        # tensorboardX takes the squares' sum as a product, whose threads, of NumPy's library,
        # spin on for as long as several steps take.
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
        """Writes what is not on disk yet."""
        self._writer.close()

    def _add(self, step: int, **what) -> None:
        self._writer.write_event(Event(wall_time=time.time(), step=step, **what))
        if time.monotonic() - self._flushed > SELDOM:
            self._writer.flush()
            self._flushed = time.monotonic()
