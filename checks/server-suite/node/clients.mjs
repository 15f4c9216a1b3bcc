// OpenAI's own package for Node against a server whose base URL is the first argument, and whose
// key is the second one: says its name, and an exception ends it.
import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [url, apiKey] = process.argv.slice(2);
const baseURL = `${url}/v1`;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

const { data: [{ id: model }] } = await client.models.list();
assert.equal((await client.models.retrieve(model)).id, model);

const messages = [{ role: 'user', content: 'Tell me of a cat.' }];
const options = { model, messages, max_tokens: 12, temperature: 0 };
const whole = await client.chat.completions.create(options);
const said = whole.choices[0].message.content;
assert.ok(said);
assert.equal(whole.choices[0].finish_reason, 'length');
assert.equal(whole.usage.completion_tokens, 12);

const stream = await client.chat.completions.create({ ...options, stream: true,
  stream_options: { include_usage: true } });
let streamed = '';
let pieces = 0;
let usage;
for await (const piece of stream) {
  streamed += piece.choices[0]?.delta.content ?? '';
  pieces += 1;
  usage = piece.usage ?? usage;
}
assert.equal(streamed, said);
assert.ok(pieces > 2 && usage.completion_tokens === 12, `${pieces} pieces`);
// With the package's helper, which puts a stream's pieces together again.
const helper = client.chat.completions.stream(options);
assert.equal(await helper.finalContent(), said);

// At the second space.
const stop = said.split(' ')[2];
const stopped = await client.chat.completions.create({ ...options, stop: [` ${stop}`] });
assert.equal(stopped.choices[0].message.content, said.split(' ').slice(0, 2).join(' '));
assert.equal(stopped.choices[0].finish_reason, 'stop');

// Whoever leaves in the middle lets the slot go.
const left = await client.chat.completions.create({ ...options, max_tokens: 400, stream: true });
for await (const _ of left) break;

const answer = await client.responses.create({ model, input: 'Tell me of a cat.',
  max_output_tokens: 12, temperature: 0 });
assert.equal(answer.output_text, said);
const texts = await client.completions.create({ model, prompt: 'Tim', max_tokens: 4, n: 2 });
assert.equal(texts.choices.length, 2);

const refused = (what, kind, status) => assert.rejects(what, error => {
  assert.ok(error instanceof kind && error.status === status && error.message, String(error));
  return true;
});
const ask = more => client.chat.completions.create({ ...options, ...more });
await refused(ask({ top_p: 7 }), OpenAI.BadRequestError, 400);
await refused(ask({ messages: [{ role: 'user', content: 'cat '.repeat(5000) }] }),
  OpenAI.BadRequestError, 400);
await refused(ask({ tools: [{ type: 'function', function: { name: 'f' } }] }),
  OpenAI.InternalServerError, 501);
await refused(client.embeddings.create({ model, input: 'a' }), OpenAI.InternalServerError, 501);
const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 });
await refused(stranger.chat.completions.create(options), OpenAI.AuthenticationError, 401);

console.log('openai for Node');
