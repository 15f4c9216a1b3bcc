"""Clients' own packages against a server whose base URL is the first argument: each says one word
for what it did, and an exception ends it."""

import sys

import anthropic
import ollama
import openai

url = sys.argv[1]
question = [{"role": "user", "content": "Tell me of a cat."}]


def openai_package():
    client = openai.OpenAI(base_url=url + "/v1", api_key="any")
    name = client.models.list().data[0].id
    options = dict(model=name, messages=question, max_tokens=12, temperature=0)
    whole = client.chat.completions.create(**options)
    said = whole.choices[0].message.content
    assert said and whole.usage.completion_tokens == 12, whole
    pieces = client.chat.completions.create(stream=True, **options)
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert streamed == said, (streamed, said)
    answer = client.responses.create(
        model=name, input="Tell me of a cat.", max_output_tokens=12, temperature=0
    )
    assert answer.output_text == said, (answer.output_text, said)
    text = client.completions.create(model=name, prompt="Tim", max_tokens=4, n=2)
    assert len(text.choices) == 2
    for wrong, kind in [
        (dict(options, top_p=7), openai.BadRequestError),
        (dict(options, tools=[{"type": "function", "function": {"name": "f"}}]),
         openai.InternalServerError),
    ]:
        try:
            client.with_options(max_retries=0).chat.completions.create(**wrong)
            raise AssertionError("it was not refused")
        except kind as error:
            assert error.body["message"], error
    return said


def anthropic_package(said):
    client = anthropic.Anthropic(base_url=url, api_key="any")
    options = dict(
        model="any", max_tokens=12, messages=question, extra_body={"temperature": 0}
    )
    answer = client.messages.create(**options)
    assert answer.content[0].text == said, answer
    with client.messages.stream(**options) as stream:
        streamed = "".join(stream.text_stream)
        assert stream.get_final_message().stop_reason == "max_tokens"
    assert streamed == said, (streamed, said)
    count = client.messages.count_tokens(model="any", messages=question)
    assert count.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens


def ollama_package(said):
    client = ollama.Client(host=url)
    name = client.list().models[0].model
    assert client.show(name).template
    options = dict(model=name, messages=question, options={"num_predict": 12, "temperature": 0})
    answer = client.chat(**options)
    assert answer.message.content == said and answer.eval_count == 12, answer
    streamed = "".join(piece.message.content for piece in client.chat(stream=True, **options))
    assert streamed == said, (streamed, said)
    story = client.generate(model=name, prompt="Tim", options={"num_predict": 4})
    assert story.response and story.done_reason == "length", story
    try:
        client.chat(format="json", **options)
        raise AssertionError("it was not refused")
    except ollama.ResponseError as error:
        assert error.status_code == 501, error


said = openai_package()
print("openai")
anthropic_package(said)
print("anthropic")
ollama_package(said)
print("ollama")
