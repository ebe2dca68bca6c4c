#!/usr/bin/env python3
"""Expected cuts of the chunker, computed slowly and independently of store/chunk.c: `chunk.py` writes chunk.txt beside it,
`chunk.py --check` compares it with what it would write.

FastCDC as in the paper (Xia et al., USENIX ATC 2016, algorithm 1): one byte at a time, sub-minimum skipping, two masks. The
gear table is keyed as store/chunk.h says. The data is a splitmix64 stream from a fixed seed, with a run of zeros and a repeated
part in it, so that chunks of the minimum and the maximum size occur.
"""
import hashlib
import os
import struct
import sys

KEY = bytes(range(32))
SEED = 20160622
KIB, MIB = 1024, 1024 * 1024
CLASSES = [(16 * KIB, 64 * KIB, 256 * KIB, 16), (128 * KIB, 512 * KIB, 2 * MIB, 19), (512 * KIB, 2 * MIB, 4 * MIB, 21)]
SIZE = 12 * MIB + 4321
U64 = 2**64 - 1


def gear_table(key):
    raw = b"".join(hashlib.blake2b(b"gear\0" + bytes([j]), key=key, digest_size=64).digest() for j in range(32))
    return struct.unpack("<256Q", raw)


def mask(bits):
    return sum(1 << (62 - 2 * i) for i in range(bits))


def splitmix64(seed, count):
    out = bytearray()
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & U64
        z = ((seed ^ seed >> 30) * 0xBF58476D1CE4E5B9) & U64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & U64
        out += struct.pack("<Q", z ^ z >> 31)
    return bytes(out)


def test_data():
    data = bytearray(splitmix64(SEED, (SIZE + 7) // 8)[:SIZE])
    data[3 * MIB:4 * MIB] = bytes(MIB)                                   # a run of zeros
    data[9 * MIB + 77:9 * MIB + 77 + MIB] = data[5 * MIB:6 * MIB]        # a repetition at another alignment
    return bytes(data)


def cut(table, data, start, minimum, average, maximum, bits):
    n = len(data) - start
    if n <= minimum:
        return n
    n = min(n, maximum)
    normal = min(n, average)
    small, large = mask(bits + 2), mask(bits - 2)
    fp, i = 0, minimum
    while i < normal:
        fp = ((fp << 1) + table[data[start + i]]) & U64
        if not fp & small:
            return i
        i += 1
    while i < n:
        fp = ((fp << 1) + table[data[start + i]]) & U64
        if not fp & large:
            return i
        i += 1
    return n


def vectors():
    table, data = gear_table(KEY), test_data()
    yield "# cuts by tests/vectors/chunk.py: class, then the lengths of its chunks; first the table's ends and the data's hash"
    yield "gear %016x %016x" % (table[0], table[255])
    yield "data %d %s" % (len(data), hashlib.blake2b(data, digest_size=32).hexdigest())
    for number, (minimum, average, maximum, bits) in enumerate(CLASSES):
        start, lengths = 0, []
        while start < len(data):
            lengths.append(cut(table, data, start, minimum, average, maximum, bits))
            start += lengths[-1]
        yield "class %d %d" % (number, len(lengths))
        yield from map(str, lengths)


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chunk.txt")
    text = "".join(line + "\n" for line in vectors())
    if sys.argv[1:] != ["--check"]:
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return 0
    same = os.path.exists(path) and open(path, encoding="utf-8").read() == text
    print(f"{'' if same else 'not '}ok 1 - vectors: chunk.txt\n1..1")
    return not same


if __name__ == "__main__":
    sys.exit(main())
