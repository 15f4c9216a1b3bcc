"""Answers for `engine/tests/engine/real_weights.rs` by llama.cpp, on one thread and without flash attention. Needs
llama-cpp-python. Texts are tokens, one text per line of standard input.

python real.py quantize FILE NEW TYPE PURE: what llama-quantize does, TYPE being a number of `enum llama_ftype`, with its
    --pure if PURE is 1.
python real.py score FILE BATCH: the logits after each token of the one text, which is passed BATCH tokens at a time. For
    each batch first those with keys and values in single precision, then those with half, as little-endian f32.
python real.py continue FILE COUNT: for each text the COUNT most likely tokens that follow, one after the other, as a
    line; fewer if the text ends.
"""

import ctypes
import os
import sys

import llama_cpp as l


def load(path: str) -> tuple:
    params = l.llama_model_default_params()
    params.n_gpu_layers = 0
    model = l.llama_model_load_from_file(path.encode(), params)
    if not model:
        sys.exit(f"{path}: llama.cpp does not load it")
    return model, l.llama_model_get_vocab(model)


def start(model, positions: int, kv: int):
    params = l.llama_context_default_params()
    params.n_ctx = params.n_batch = positions
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = kv
    params.flash_attn_type = l.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return l.llama_init_from_model(model, params)


def decode(context, tokens: list[int], first: int, every: bool) -> None:
    """Passes tokens that stand from position `first` on; logits of every one or of the last."""
    batch = l.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i] = token, first + i
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        batch.logits[i] = every or i + 1 == len(tokens)
    if l.llama_decode(context, batch):
        sys.exit(f"llama.cpp does not decode {len(tokens)} tokens at {first}")
    l.llama_batch_free(batch)


def texts() -> list[list[int]]:
    return [[int(token) for token in line.split()] for line in sys.stdin]


def quantize(path: str, new: str, number: str, pure: str) -> None:
    params = l.llama_model_quantize_default_params()
    params.ftype, params.pure, params.allow_requantize = int(number), pure == "1", True
    if l.llama_model_quantize(path.encode(), new.encode(), ctypes.byref(params)):
        sys.exit(f"{path}: llama.cpp does not quantise it")


def score(out, path: str, size: str) -> None:
    (model, vocab), (text,), size = load(path), texts(), int(size)
    row = 4 * l.llama_vocab_n_tokens(vocab)
    contexts = [start(model, len(text), kv) for kv in (l.GGML_TYPE_F32, l.GGML_TYPE_F16)]
    for first in range(0, len(text), size):
        tokens = text[first : first + size]
        for context in contexts:
            decode(context, tokens, first, True)
            out.write(ctypes.string_at(l.llama_get_logits(context), row * len(tokens)))


def continued(out, path: str, count: str) -> None:
    (model, vocab), prompts, count = load(path), texts(), int(count)
    for prompt in prompts:
        context = start(model, len(prompt) + count, l.GGML_TYPE_F32)
        sampler = l.llama_sampler_init_greedy()
        decode(context, prompt, 0, False)
        said = []
        while len(said) < count:
            token = l.llama_sampler_sample(sampler, context, -1)
            said.append(token)
            if l.llama_vocab_is_eog(vocab, token):
                break
            decode(context, [token], len(prompt) + len(said) - 1, False)
        l.llama_free(context)
        out.write((" ".join(map(str, said)) + "\n").encode())


def main() -> None:
    out = os.fdopen(os.dup(1), "wb")
    # llama.cpp reports on standard error, and sometimes not only there.
    os.dup2(2, 1)
    l.llama_backend_init()
    what, *words = sys.argv[1:]
    if what == "quantize":
        quantize(*words)
    else:
        {"score": score, "continue": continued}[what](out, *words)
    out.flush()


main()
