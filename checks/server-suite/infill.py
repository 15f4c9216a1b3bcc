"""Adds four infill tokens to a model's vocabulary: `infill.py MODEL.gguf NEW.gguf`.

llama.cpp tests /infill with such a model. They are control tokens with the unknown token's
embedding: the model was not trained with them, and must not be drawn away from its stories.
"""

import sys

import gguf
import numpy

TOKENS = {"prefix": "fim_pre", "suffix": "fim_suf", "middle": "fim_mid", "pad": "fim_pad"}

old = gguf.GGUFReader(sys.argv[1])
new = gguf.GGUFWriter(sys.argv[2], "llama")
count = len(old.fields["tokenizer.ggml.tokens"].data)
added = {
    "tokenizer.ggml.tokens": [f"<|fim_{name}|>" for name in TOKENS],
    "tokenizer.ggml.scores": [0.0] * len(TOKENS),
    "tokenizer.ggml.token_type": [int(gguf.TokenType.CONTROL)] * len(TOKENS),
}
for name, field in old.fields.items():
    if name.startswith("GGUF.") or name == "general.architecture":
        continue
    value = field.contents()
    if name.endswith(".vocab_size"):
        value += len(TOKENS)
    kind, *inner = field.types
    if name in added:
        value += added[name]
    new.add_key_value(name, value, kind, *inner)
for number, key in enumerate(TOKENS.values()):
    new.add_uint32(f"tokenizer.ggml.{key}_token_id", count + number)
unknown = old.fields["tokenizer.ggml.unknown_token_id"].contents()
for tensor in old.tensors:
    rows = tensor.data
    if len(rows) == count and rows.ndim == 2:
        rows = numpy.concatenate([rows, numpy.repeat(rows[unknown : unknown + 1], len(TOKENS), 0)])
    new.add_tensor(tensor.name, rows)
new.write_header_to_file()
new.write_kv_data_to_file()
new.write_tensors_to_file()
new.close()
