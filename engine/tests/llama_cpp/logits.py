"""Prints the logits that llama.cpp gives, for the test beside it: python logits.py FILE TOKEN...

Needs llama-cpp-python. Tokens are passed one by one from position 0 on; keys and values in single precision, no flash
attention, one thread. Standard output: for each token as many little-endian f32 as the vocabulary has tokens.
"""

import ctypes
import os
import sys

import llama_cpp as l


def main() -> None:
    path, tokens = sys.argv[1], [int(token) for token in sys.argv[2:]]
    out = os.dup(1)
    # llama.cpp reports on standard error, and sometimes not only there.
    os.dup2(2, 1)
    l.llama_backend_init()
    model_params = l.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = l.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        sys.exit(f"{path}: llama.cpp does not load it")
    params = l.llama_context_default_params()
    params.n_ctx = max(64, len(tokens))
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = l.GGML_TYPE_F32
    params.flash_attn_type = l.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = l.llama_init_from_model(model, params)
    size = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
    for token in tokens:
        one = (l.llama_token * 1)(token)
        if l.llama_decode(context, l.llama_batch_get_one(one, 1)):
            sys.exit(f"{path}: llama.cpp does not decode token {token}")
        logits = l.llama_get_logits_ith(context, -1)
        os.write(out, ctypes.string_at(logits, 4 * size))


main()
