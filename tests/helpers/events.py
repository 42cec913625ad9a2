"""Reading of TensorBoard event files."""

from tensorboardX.proto.event_pb2 import Event


def events(path):
    """Yield the events of a file in order."""
    data = path.read_bytes()
    while data:
        # A record consists of its length, a checksum, the event, and another checksum.
        length = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
