// A server that answers as llama-server does, but always in the same way: what it says depends on
// words in the last message. `node mock.mjs 8080` serves the page for work on it.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

const POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'";
const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page.css': ['style.css', 'text/css; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
  '/sw.js': ['sw.js', 'text/javascript; charset=utf-8'],
  '/icon.svg': ['icon.svg', 'image/svg+xml'],
  '/favicon.ico': ['icon.svg', 'image/svg+xml'],
  '/manifest.webmanifest': ['manifest.webmanifest', 'application/manifest+json'],
};
const CONTEXT = 4096;

const SAMPLE = `Here is a **short** answer with *care*, \`code\` and a [link](https://example.org/).

1. First
   - nested
2. Second

| Name | Size |
|:-----|-----:|
| a    | 1    |

\`\`\`rust
fn main() {}
\`\`\`
`;

const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));

function send(response, status, body, type = 'application/json; charset=utf-8') {
  response.writeHead(status, { 'Content-Type': type, 'Content-Security-Policy': POLICY });
  response.end(typeof body === 'object' && !Buffer.isBuffer(body) ? JSON.stringify(body) : body);
}

async function chat(request, response) {
  let text = '';
  for await (const piece of request) text += piece;
  const body = JSON.parse(text);
  const asked = body.messages.at(-1).content;
  if (asked.includes('too long'))
    return send(response, 400, { error: { code: 400, type: 'exceed_context_size_error',
      message: 'the request exceeds the available context size', n_prompt_tokens: 5000,
      n_ctx: CONTEXT } });
  if (asked.includes('busy'))
    return send(response, 503, { error: { code: 503, type: 'unavailable_error',
      message: 'all slots are busy' } });

  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const event = data => response.write(`data: ${JSON.stringify(data)}\n\n`);
  const delta = (part, more = {}) => event({ object: 'chat.completion.chunk',
    choices: [{ index: 0, delta: part, finish_reason: null }], ...more });
  const prompt = 20 + body.messages.length;
  for (const processed of [0, prompt]) {
    delta({ role: 'assistant', content: null },
      { prompt_progress: { total: prompt, cache: 0, processed, time_ms: 10 } });
    await pause(asked.includes('patience') ? 100 : 5);
  }
  if (asked.includes('think')) {
    for (const word of ['Let ', 'me ', 'see.']) delta({ reasoning_content: word });
    await pause(50);
  }
  const long = 'One sentence follows another here. '.repeat(400);
  let answer = `You said: ${asked}`;
  if (asked.includes('long story')) answer = long;
  if (asked.includes('Markdown')) answer = SAMPLE;
  const words = answer.match(/\s*\S+\s*?/g);
  let sent = 0;
  for (const word of words.slice(0, body.max_tokens ?? Infinity)) {
    if (response.destroyed) return;
    delta({ content: word });
    sent++;
    if (asked.includes('break') && sent === 3) {
      await pause(100);
      return response.destroy();
    }
    if (asked.includes('fail') && sent === 3) {
      response.write(': a comment\n\n');
      event({ error: { code: 500, type: 'server_error', message: 'the model ran dry' } });
      return response.end();
    }
    await pause(8);
  }
  const reason = sent < words.length ? 'length' : 'stop';
  event({ choices: [{ index: 0, delta: {}, finish_reason: reason }],
    timings: { cache_n: 0, prompt_n: prompt, prompt_per_second: 500, predicted_n: sent,
      predicted_per_second: 42.5 } });
  event({ choices: [],
    usage: { prompt_tokens: prompt, completion_tokens: sent, total_tokens: prompt + sent } });
  response.end('data: [DONE]\n\n');
}

async function handle(request, response) {
  const path = new URL(request.url, 'http://localhost').pathname;
  if (FILES[path]) {
    const [name, type] = FILES[path];
    const file = new URL(`../../src/page/${name}`, import.meta.url);
    return send(response, 200, await readFile(file), type);
  }
  if (path === '/_app/version.json') return send(response, 200, { version: '0' });
  if (path === '/props')
    return send(response, 200, { model_alias: 'example-model', total_slots: 1, chat_template: '',
      default_generation_settings: { n_ctx: CONTEXT, params: { temperature: 0.8, top_k: 40,
        top_p: 0.95, min_p: 0.05, repeat_penalty: 1, max_tokens: -1, seed: 4294967295 } } });
  if (path === '/v1/models')
    return send(response, 200,
      { object: 'list', data: [{ id: 'example-model', object: 'model' }] });
  if (path === '/v1/chat/completions' && request.method === 'POST') return chat(request, response);
  return send(response, 404, { error: { code: 404, type: 'not_found_error', message: 'no such' } });
}

/** Starts at a port (0: any that is free); resolves to the server. */
export function start(port = 0) {
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  return new Promise(ready => server.listen(port, '127.0.0.1', () => ready(server)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await start(Number(process.argv[2] ?? 8080));
  console.log(`http://127.0.0.1:${server.address().port}/`);
}
