"""What the `gguf` package makes of blocks: `dequantize.py TYPE` reads them from standard input and writes little-endian f32.

Without a type: prints the CRC-32 of what it makes of random blocks of each coded type (expected.txt).
"""

import struct
import sys
import zlib

import gguf
import numpy

# Bytes of a block, where its scale is, and how many half-precision numbers are there.
TYPES = {
    "Q4_1": (20, 0, 2),
    "Q5_0": (22, 0, 1),
    "Q5_1": (24, 0, 2),
    "Q2_K": (84, 80, 2),
    "Q3_K": (110, 108, 1),
    "Q4_K": (144, 0, 2),
    "Q5_K": (176, 0, 2),
    "Q6_K": (210, 208, 1),
    "IQ4_NL": (18, 0, 1),
    "IQ4_XS": (136, 0, 1),
}
MASK = (1 << 64) - 1


class Random:
    """xorshift64*, as the tests have it."""

    def __init__(self, state):
        self.state = state

    def next(self):
        x = self.state
        x ^= x >> 12
        x = (x ^ (x << 25)) & MASK
        x ^= x >> 27
        self.state = x
        return (x * 0x2545F4914F6CDD1D) & MASK

    def float(self):
        total = numpy.float32(0)
        for _ in range(4):
            part = numpy.float32(self.next() >> 40) / numpy.float32(16777216)
            total = numpy.float32(total + (part - numpy.float32(0.5)))
        return total


def print_sums():
    for name, (size, at, numbers) in TYPES.items():
        random = Random(17)
        data = bytearray()
        for _ in range(200):
            block = bytearray(random.next() & 255 for _ in range(size))
            for i in range(numbers):
                block[at + 2 * i : at + 2 * i + 2] = struct.pack("<e", random.float())
            data += block
        kind = gguf.GGMLQuantizationType[name]
        blocks = numpy.frombuffer(bytes(data), dtype=numpy.uint8).reshape(200, size)
        weights = gguf.quants.dequantize(blocks, kind).astype("<f4")
        print(f"{name} {zlib.crc32(weights.tobytes()):08x}")


def dequantize(name):
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = numpy.frombuffer(sys.stdin.buffer.read(), dtype=numpy.uint8).reshape(-1, size)
    if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16):
        blocks = blocks.view(numpy.dtype("<f4" if size == 4 else "<f2"))
    sys.stdout.buffer.write(gguf.quants.dequantize(blocks, kind).astype("<f4").tobytes())


if len(sys.argv) > 1:
    dequantize(sys.argv[1])
else:
    print_sums()
