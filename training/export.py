"""Write the student that distil.py trained as a llama2.c checkpoint and as a GGUF file in Q4_0.

usage: export.py DISTIL_OUT DATA_DIR NAME [LLAMA2]

Writes NAME.bin (llama2.c's version 0 in single precision: every number is one that Q4_0 has) and,
by the command LLAMA2, NAME.gguf. A story ends with BOS, as llama2.c has it: the file's EOS is set
to that token.
"""

import json
import struct
import subprocess
import sys

import numpy as np


def matrices(path):
    file, out = np.load(path), {}
    for key in file.files:
        name, _, part = key.partition(".")
        if part == "codes":
            scales = file[name + ".scales"].astype(np.float32)
            codes = file[key].astype(np.float32)
            out[name] = (codes * scales).reshape(*codes.shape[:-2], -1)
        elif not part and name != "shape":
            out[name] = file[key].astype(np.float32)
    return json.loads(str(file["shape"])), out


def main():
    folder, data, name = sys.argv[1:4]
    shape, w = matrices(folder + "/shipped.npz")
    d, context = shape["dim"] // shape["heads"], 512
    angle = np.outer(np.arange(context), 10000.0 ** (-np.arange(0, d, 2) / d)).astype(np.float32)
    with open(name + ".bin", "wb") as f:
        f.write(
            struct.pack(
                "<7i",
                shape["dim"],
                shape["hidden"],
                shape["layers"],
                shape["heads"],
                shape["kv_heads"],
                shape["vocab"],
                context,
            )
        )
        for key in ("emb", "na", "wq", "wk", "wv", "wo", "nf", "w1", "w2", "w3", "norm"):
            f.write(w[key].astype("<f4").tobytes())
        f.write(np.cos(angle).tobytes() + np.sin(angle).tobytes())
    if len(sys.argv) > 4:
        subprocess.run(
            [
                sys.argv[4],
                "quantize",
                name + ".bin",
                name + ".gguf",
                "--type",
                "q4_0",
                "-z",
                data + "/tokenizer.bin",
                "--force",
            ],
            check=True,
        )
        bytes_ = bytearray(open(name + ".gguf", "rb").read())
        key = b"tokenizer.ggml.eos_token_id" + struct.pack("<I", 4)
        at = bytes_.index(key) + len(key)
        bytes_[at : at + 4] = struct.pack("<I", 1)
        open(name + ".gguf", "wb").write(bytes_)


if __name__ == "__main__":
    main()
