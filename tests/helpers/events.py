"""What a file of TensorBoard holds."""

from tensorboardX.proto.event_pb2 import Event


def events(path):
    """Its events, in order."""
    data = path.read_bytes()
    while data:
        # A record is its length, a checksum, the event, a checksum.
        length = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
