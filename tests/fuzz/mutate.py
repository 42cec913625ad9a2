"""Mutations of valid files: random ones, and ones aimed at headers and sizes."""

import gzip
import io
import re
import struct
import zipfile
import zlib

BOUNDARY_VALUES = [
    0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**20, 2**28,
]  # fmt: skip


def mutated(name, content, others, rng):
    """Return a mutated version of a file.

    In half of the cases, the content of a compressed file is mutated and compressed again.

    Args:
      name: name of the file; its suffix gives the format.
      content: the valid content.
      others: contents of other files, to splice in.
      rng: draws the mutation.
    """
    if rng.random() < 0.5:
        if name.endswith(".gz"):
            return gzip.compress(mutate_bytes(gzip.decompress(content), others, rng), mtime=0)
        if name.endswith(".npz"):
            return _mutate_zip_entry(content, others, rng)
        if name.endswith(".png"):
            return _mutate_png_chunk(content, others, rng)
    return mutate_bytes(content, others, rng)


def mutate_bytes(content, others, rng):
    """Apply one to four random mutations to bytes."""
    mutations = [
        _random_bytes, _number_in_header, _number_in_tail, _truncate, _repeat, _splice, _fill,
    ]  # fmt: skip
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        mutation = rng.choice(mutations)
        content = bytearray(mutation(content, others, rng)) or bytearray(b"\0")
    return bytes(content)


def _random_bytes(content, others, rng):
    for i in rng.integers(len(content), size=rng.integers(1, 20)):
        content[i] = rng.integers(256)
    return content


def _boundary_value(content, position, rng):
    size, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["big", "little"]))
    value = int(rng.choice(BOUNDARY_VALUES)) % 256**size
    content[position : position + size] = value.to_bytes(size, order)
    return content


def _number_in_header(content, others, rng):
    return _boundary_value(content, rng.integers(min(64, len(content))), rng)


def _number_in_tail(content, others, rng):
    return _boundary_value(content, max(0, len(content) - int(rng.integers(1, 128))), rng)


def _truncate(content, others, rng):
    return content[: rng.integers(len(content))]


def _repeat(content, others, rng):
    start, stop = sorted(rng.integers(len(content), size=2))
    return content[:stop] + content[start:stop] * int(rng.integers(1, 20)) + content[stop:]


def _splice(content, others, rng):
    other = others[rng.integers(len(others))]
    return content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]


def _fill(content, others, rng):
    start = rng.integers(len(content))
    return content[:start] + bytes([rng.integers(256)]) * int(rng.integers(1, 2**16))


def _mutate_zip_entry(content, others, rng):
    """Mutate one array of an .npz file, its header more often than its numbers."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as new:
        chosen = rng.integers(len(old.infolist()))
        for i, info in enumerate(old.infolist()):
            array = old.read(info)
            if i == chosen:
                array = _mutate_npy_header(array, rng) if rng.random() < 0.7 else array
                array = mutate_bytes(array, others, rng) if rng.random() < 0.5 else array
            new.writestr(info.filename, array)
    return file.getvalue()


def _mutate_npy_header(array, rng):
    """Replace the shape or dtype in the header of an .npy file."""
    header, numbers = array[:128], array[128:]
    size = b"%d" % rng.choice([0, 1, 7, 2**16, 2**31, 2**62])
    dtype = rng.choice([b"|O", b"<f8", b">i2", b"<U9", b"|V8", b"<f16", b"<c8", b"|b1", b"<M8"])
    for pattern, other in ((rb"\d+(?=[,)])", size), (rb"(?<=descr': ')[^']+", bytes(dtype))):
        if rng.random() < 0.6:
            header = re.sub(pattern, other, header, count=int(rng.integers(1, 4)))
    if rng.random() < 0.8:
        header = header[:8] + struct.pack("<H", len(header) - 10) + header[10:]
    return header + numbers


def _mutate_png_chunk(content, others, rng):
    """Mutate one chunk of a PNG and correct its checksum."""
    chunks, position = [], 8
    while position < len(content):
        (size,) = struct.unpack(">I", content[position : position + 4])
        start = position + 8
        chunks.append([content[position + 4 : start], content[start : start + size]])
        position += 12 + size
    chosen = chunks[rng.integers(len(chunks) - 1)]
    if chosen[0] == b"IDAT" and rng.random() < 0.5:
        chosen[1] = zlib.compress(mutate_bytes(zlib.decompress(chosen[1]), others, rng))
    elif chosen[1]:
        chosen[1] = bytes(_number_in_header(bytearray(chosen[1]), others, rng))
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
