"""Renders templates with Jinja2, for the tests in jinja/: lines of JSON, each of them a template's
source (a string) or the variables for a rendering of the last one (an object).

Standard output, for each rendering: `ok`, `raised` (a TemplateError of Jinja2's at run time) or
`failed` (any other exception), a space, the length in bytes, a line feed, and the text or the exception's.

The settings are those of Hugging Face's transformers: blocks are trimmed, `raise_exception`,
`strftime_now` and the block `generation` are there, and code runs in a sandbox. It is always
26 July 2024, 13:05:09.
"""

import datetime
import json
import sys

from jinja2 import nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2024, 7, 26, 13, 5, 9)


class Generation(Extension):
    """The block that tells transformers which tokens are an assistant's: its body is rendered."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("body"), [], [], body).set_lineno(line)

    def body(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def main():
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = NOW.strftime
    source, template = "", None
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        if isinstance(asked, str):
            source, template = asked, None
            continue
        try:
            template = template or environment.from_string(source)
            text = template.render(asked)
            answer = "ok"
        except TemplateSyntaxError as error:
            answer, text = "failed", f"{type(error).__name__}: {error}"
        except TemplateError as error:
            answer, text = "raised", str(error)
        except Exception as error:
            answer, text = "failed", f"{type(error).__name__}: {error}"
        data = text.encode()
        sys.stdout.buffer.write(f"{answer} {len(data)}\n".encode() + data)


main()
