"""Renders a chat template with Jinja2, for the test in ../chat_templates.rs: render.py FILE BOS EOS.

Standard input: conversations, a line of JSON each: {"messages": [...], "think": true}. Standard output: for each of them `ok` or
`refused`, a space, the length in bytes, a line feed, and the text or why there is none.

The settings are those of Hugging Face's transformers: blocks are trimmed, `raise_exception` and `strftime_now` are there, and
code runs in a sandbox. It is always 26 July 2024.
"""

import datetime
import json
import sys

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2024, 7, 26)


def raise_exception(message):
    raise TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def main():
    path, bos, eos = sys.argv[1:]
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    with open(path, encoding="utf-8") as file:
        template = environment.from_string(file.read())
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            text = template.render(
                messages=asked["messages"],
                enable_thinking=asked["think"],
                add_generation_prompt=True,
                bos_token=bos,
                eos_token=eos,
            )
            answer = "ok"
        except TemplateError as error:
            answer, text = "refused", str(error)
        data = text.encode()
        sys.stdout.buffer.write(f"{answer} {len(data)}\n".encode() + data)


main()
