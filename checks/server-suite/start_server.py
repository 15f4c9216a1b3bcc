#!/usr/bin/env python3
"""Stands for llama-server, which llama.cpp's server tests start by the name of one program.

Without a network every model is one that is here: SUITE_MODEL takes the place of each model that
is named by an address, SUITE_INFILL that of the one with infill tokens. Then this becomes
SUITE_SERVER, the words of the command to test, one per line, with the flags that are left.
"""

import os
import sys

ADDRESSES = ["--hf-repo", "--hf-file", "--model-url", "--mmproj-url", "--model-draft"]

model = os.environ["SUITE_MODEL"]
flags = []
words = iter(sys.argv[1:])
for word in words:
    if word not in ADDRESSES:
        flags.append(word)
    elif "infill" in next(words, ""):
        model = os.environ["SUITE_INFILL"]
if "--model" not in flags:
    flags = ["--model", model, *flags]
server = os.environ["SUITE_SERVER"].split("\n")
os.execvp(server[0], server + flags)
