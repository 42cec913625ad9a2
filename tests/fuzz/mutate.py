"""Ways to break a file: at random, and where it hurts."""

import gzip
import io
import re
import struct
import zipfile
import zlib

TELLING = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**20, 2**28]


def mutated(name, content, others, rng):
    """A broken version of a file; half of the packed ones are broken inside and packed again."""
    if rng.random() < 0.5:
        if name.endswith(".gz"):
            return gzip.compress(broken(gzip.decompress(content), others, rng), mtime=0)
        if name.endswith(".npz"):
            return _broken_in_zip(content, others, rng)
        if name.endswith(".png"):
            return _broken_in_chunk(content, others, rng)
    return broken(content, others, rng)


def broken(content, others, rng):
    """One to four changes."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        change = rng.choice([_bytes, _header, _tail, _cut, _repeat, _splice, _fill])
        content = bytearray(change(content, others, rng)) or bytearray(b"\0")
    return bytes(content)


def _bytes(content, others, rng):
    for place in rng.integers(len(content), size=rng.integers(1, 20)):
        content[place] = rng.integers(256)
    return content


def _number(content, place, rng):
    size, order = int(rng.choice([1, 2, 4, 8])), str(rng.choice(["big", "little"]))
    value = int(rng.choice(TELLING)) % 256**size
    content[place : place + size] = value.to_bytes(size, order)
    return content


def _header(content, others, rng):
    return _number(content, rng.integers(min(64, len(content))), rng)


def _tail(content, others, rng):
    return _number(content, max(0, len(content) - int(rng.integers(1, 128))), rng)


def _cut(content, others, rng):
    return content[: rng.integers(len(content))]


def _repeat(content, others, rng):
    first, last = sorted(rng.integers(len(content), size=2))
    return content[:last] + content[first:last] * int(rng.integers(1, 20)) + content[last:]


def _splice(content, others, rng):
    other = others[rng.integers(len(others))]
    return content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]


def _fill(content, others, rng):
    place = rng.integers(len(content))
    return content[:place] + bytes([rng.integers(256)]) * int(rng.integers(1, 2**16))


def _broken_in_zip(content, others, rng):
    """Breaks one array, its header more often than its numbers, and packs all again."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as new:
        unlucky = rng.integers(len(old.infolist()))
        for i, info in enumerate(old.infolist()):
            array = old.read(info)
            if i == unlucky:
                array = _other_header(array, rng) if rng.random() < 0.7 else array
                array = broken(array, others, rng) if rng.random() < 0.5 else array
            new.writestr(info.filename, array)
    return file.getvalue()


def _other_header(array, rng):
    """Says another shape or type."""
    header, numbers = array[:128], array[128:]
    size = b"%d" % rng.choice([0, 1, 7, 2**16, 2**31, 2**62])
    kind = rng.choice([b"|O", b"<f8", b">i2", b"<U9", b"|V8", b"<f16", b"<c8", b"|b1", b"<M8"])
    for pattern, other in ((rb"\d+(?=[,)])", size), (rb"(?<=descr': ')[^']+", bytes(kind))):
        if rng.random() < 0.6:
            header = re.sub(pattern, other, header, count=int(rng.integers(1, 4)))
    if rng.random() < 0.8:
        header = header[:8] + struct.pack("<H", len(header) - 10) + header[10:]
    return header + numbers


def _broken_in_chunk(content, others, rng):
    """Breaks one chunk of a PNG, which says that it is whole."""
    chunks, place = [], 8
    while place < len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        chunks.append([content[place + 4 : place + 8], content[place + 8 : place + 8 + size]])
        place += 12 + size
    unlucky = chunks[rng.integers(len(chunks) - 1)]
    if unlucky[0] == b"IDAT" and rng.random() < 0.5:
        unlucky[1] = zlib.compress(broken(zlib.decompress(unlucky[1]), others, rng))
    elif unlucky[1]:
        unlucky[1] = bytes(_header(bytearray(unlucky[1]), others, rng))
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
