"""Pack a Llama GGUF file as a teacher that speaks the student's vocabulary.

usage: teacher.py TEACHER.gguf TOKENIZER_MODEL OUT_DIR

Each piece of the student's vocabulary gets the mean of the embeddings of the teacher's
tokens that spell it; most pieces are one token there too. OUT_DIR receives shape.json,
embedding.npz and one layer_NN.npz for each layer, in the file's own blocks (Q4_1, 5 bits a
number), since they travel to another machine.
"""

import json
import os
import sys

import numpy as np
import sentencepiece as spm
from gguf import GGUFReader, dequantize


def byte_letters():
    """Return GPT-2's letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in letters:
            letters[b], extra = chr(256 + extra), extra + 1
    return letters


def spell(piece, ranks, vocabulary):
    """Return a piece's tokens: GPT-2's merges, lowest rank first."""
    parts = list(piece)
    while len(parts) > 1:
        pairs = [ranks.get((a, b), 1 << 30) for a, b in zip(parts, parts[1:])]
        i = int(np.argmin(pairs))
        if pairs[i] == 1 << 30:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [vocabulary[p] for p in parts if p in vocabulary] or [vocabulary["<|endoftext|>"]]


def main():
    path, tokenizer, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    file = GGUFReader(path)

    def field(name):
        return file.get_field(name).contents()

    vocabulary = {p: i for i, p in enumerate(field("tokenizer.ggml.tokens"))}
    merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges")]
    ranks = {m: i for i, m in enumerate(merges)}
    tensors = {t.name: t for t in file.tensors}
    old = dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    letters, sp = byte_letters(), spm.SentencePieceProcessor(model_file=tokenizer)
    new, single = np.zeros((sp.vocab_size(), old.shape[1]), np.float32), 0
    for i in range(sp.vocab_size()):
        piece = sp.id_to_piece(i)
        if sp.is_control(i) or sp.is_unknown(i):
            tokens = [field("tokenizer.ggml.eos_token_id"), vocabulary["<|endoftext|>"]]
        else:
            text = (
                bytes([int(piece[3:5], 16)]) if sp.is_byte(i) else piece.replace("▁", " ").encode()
            )
            tokens = spell("".join(letters[b] for b in text), ranks, vocabulary)
        new[i] = old[tokens].mean(0)
        single += len(tokens) == 1
    print(f"{single} of {len(new)} pieces are one token of the teacher's")
    np.savez(
        os.path.join(out, "embedding.npz"),
        emb=new.astype(np.float16),
        norm=dequantize(
            tensors["output_norm.weight"].data, tensors["output_norm.weight"].tensor_type
        ),
    )
    arch = field("general.architecture")
    shape = dict(
        dim=int(field(arch + ".embedding_length")),
        hidden=int(field(arch + ".feed_forward_length")),
        layers=int(field(arch + ".block_count")),
        heads=int(field(arch + ".attention.head_count")),
        kv_heads=int(field(arch + ".attention.head_count_kv")),
        vocab=sp.vocab_size(),
        theta=float(field(arch + ".rope.freq_base")),
        eps=float(field(arch + ".attention.layer_norm_rms_epsilon")),
    )
    json.dump(shape, open(os.path.join(out, "shape.json"), "w"))
    names = dict(
        na="attn_norm",
        wq="attn_q",
        wk="attn_k",
        wv="attn_v",
        wo="attn_output",
        nf="ffn_norm",
        w1="ffn_gate",
        w2="ffn_down",
        w3="ffn_up",
    )
    for i in range(shape["layers"]):
        layer = {}
        for short, name in names.items():
            t = tensors[f"blk.{i}.{name}.weight"]
            kind = t.tensor_type.name
            layer[f"{short}.{kind}"] = (
                t.data
                if kind in ("Q4_1", "F32")
                else dequantize(t.data, t.tensor_type).astype(np.float16)
            )
            assert kind in ("Q4_1", "F32") or print(t.name, kind) is None
        np.savez(os.path.join(out, f"layer_{i:02}.npz"), **layer)
    print(shape)


if __name__ == "__main__":
    main()
