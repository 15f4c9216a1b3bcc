"""Prints the tokens that llama.cpp gives, for the test beside it: python tokens.py FILE < TEXTS

Needs llama-cpp-python. FILE is a GGUF file, of which only the vocabulary is read. Each line of standard input is a text in
hexadecimal. Standard output: first the tokens that end a generation; then for each text its tokens without and with
parse_special, the latter between what begins and ends texts, then those without as text again (in hexadecimal), all on a
line with | between.
"""

import ctypes
import os
import sys

import llama_cpp as l


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    # llama.cpp reports on standard error, and sometimes not only there.
    os.dup2(2, 1)
    l.llama_backend_init()
    params = l.llama_model_default_params()
    params.vocab_only = True
    model = l.llama_model_load_from_file(sys.argv[1].encode(), params)
    if not model:
        sys.exit(f"{sys.argv[1]}: llama.cpp does not load it")
    vocab = l.llama_model_get_vocab(model)
    every = range(l.llama_vocab_n_tokens(vocab))
    print(*(token for token in every if l.llama_vocab_is_eog(vocab, token)), file=out)
    for line in sys.stdin:
        text = bytes.fromhex(line.strip())
        room = 8 * len(text) + 16
        tokens = (l.llama_token * room)()

        def tokenize(special: bool, parse: bool) -> list[int]:
            count = l.llama_tokenize(vocab, text, len(text), tokens, room, special, parse)
            if count < 0:
                sys.exit(f"{text!r}: llama.cpp wants {-count} tokens")
            return tokens[:count]

        parsed, whole, plain = tokenize(False, True), tokenize(True, True), tokenize(False, False)
        shown = ctypes.create_string_buffer(64 * room)
        length = l.llama_detokenize(vocab, tokens, len(plain), shown, len(shown), False, False)
        if length < 0:
            sys.exit(f"{text!r}: llama.cpp wants {-length} bytes")
        lists = [" ".join(map(str, some)) for some in (plain, parsed, whole)]
        print(*lists, shown.raw[:length].hex(), sep="|", file=out)
    out.flush()


main()
