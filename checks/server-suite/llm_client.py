"""`llm`, a ready-made client for terminals (PyPI), which the first argument names, against a server
whose base URL is the second one, and whose key is the third: says its name, and an exception ends
it."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

llm, url, key = sys.argv[1:]
question = "Tell me of a cat."
home = tempfile.TemporaryDirectory()
environment = {**os.environ, "LLM_USER_PATH": home.name}


def ask(*words, key=key):
    return subprocess.run(
        [llm, "-m", "machine", "--key", key, *words],
        env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )


def answer(*words):
    ended = ask(*words, "-o", "max_tokens", "12", "-o", "temperature", "0")
    assert ended.returncode == 0 and ended.stdout.strip(), ended
    return ended.stdout.strip()


head = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
body = dict(messages=[{"role": "user", "content": question}], max_tokens=12, temperature=0)
request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), head)
said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"].strip()

# As its documentation says: how it is told of a server that speaks OpenAI's language.
pathlib.Path(home.name, "extra-openai-models.yaml").write_text(
    "- model_id: machine\n  model_name: machine\n  api_key_name: machine\n"
    f"  api_base: {url}/v1\n"
)
assert answer(question) == said
assert answer("--no-stream", question) == said
assert answer("--system", "You tell stories of dogs.", question)
# The next question of the conversation, which it keeps.
assert answer("--continue", "And of a dog?")
refused = ask(question, key="wrong")
assert refused.returncode != 0 and "Invalid API Key" in refused.stderr, refused
version = subprocess.run([llm, "--version"], capture_output=True, text=True).stdout.split()[-1]
print("llm", version)
