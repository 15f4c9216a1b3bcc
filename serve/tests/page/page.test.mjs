// The page at `/` in a headless Chromium, against the server at LLAMA2_PAGE_URL or, without one,
// against `mock.mjs`. LLAMA2_PAGE_KEY is that server's key, with which only the test of the key can
// be run. LLAMA2_CHROMIUM names the browser if it isn't /usr/bin/chromium;
// LLAMA2_PICTURES=write stores docs/images/page.png again.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { start } from './mock.mjs';

const given = process.env.LLAMA2_PAGE_URL;
const onMock = { skip: given ? 'a real server answers as it likes' : false };
let url = given;
let mock, browser, axe;

before(async () => {
  if (!given) {
    mock = await start();
    url = `http://127.0.0.1:${mock.address().port}/`;
  }
  browser = await chromium.launch({
    executablePath: process.env.LLAMA2_CHROMIUM ?? '/usr/bin/chromium',
    // Chromium's own sandbox doesn't start as root, as in containers.
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
  axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
});

after(async () => {
  await browser?.close();
  mock?.closeAllConnections();
  mock?.close();
});

/** A test with a page whose storage is empty, and that may neither throw nor break the policy. */
function onPage(name, options, body) {
  if (!body) [options, body] = [{}, options];
  test(name, { skip: options.skip ?? false, timeout: 120_000 }, async () => {
    const context = await browser.newContext({ viewport: { width: 1200, height: 800 },
      permissions: ['clipboard-read', 'clipboard-write'], ...options.context });
    context.setDefaultTimeout(given ? 60_000 : 10_000);
    const wrong = [];
    context.on('weberror', error => wrong.push(String(error.error())));
    context.on('console', message => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
        wrong.push(message.text());
    });
    // Real models need not say much here.
    await context.addInitScript(() => {
      try {
        localStorage['llama2.settings'] ??= JSON.stringify({ thinking: true, max_tokens: 40 });
      } catch { /* A test without storage. */ }
    });
    if (options.script) await context.addInitScript(options.script);
    try {
      const page = await context.newPage();
      if (options.prepare) await options.prepare(page);
      await page.goto(url);
      await body(page, context);
      assert.deepEqual(wrong, []);
    } finally {
      await context.close();
    }
  });
}

const prompt = page => page.getByRole('textbox', { name: 'Message', exact: true });
const answers = page => page.locator('article.assistant .said');
const settle = page => page.locator('#stop').waitFor({ state: 'hidden' });
const kept = page => page.evaluate(() => Object.entries(localStorage)
  .filter(([key]) => key.startsWith('llama2.chat.')).map(([, text]) => JSON.parse(text)));
/** Lets answers be so long that a test can act while one comes. */
const unlimited = page => page.evaluate(() => { settings = { thinking: true, max_tokens: 1500 }; });

async function say(page, text) {
  const before = await answers(page).count();
  await prompt(page).fill(text);
  await prompt(page).press('Enter');
  await answers(page).nth(before).waitFor();
  await settle(page);
}

/** Brings a conversation in as the import does. */
async function bring(page, ...messages) {
  const file = { format: 'llama2-conversations', version: 1,
    conversations: [{ id: 'brought', title: 'Brought', messages }] };
  await page.locator('#file').setInputFiles({ name: 'conversations.json',
    mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(file)) });
  await page.getByRole('link', { name: 'Brought' }).click();
}

const POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'";

test('the page and its files are served under a strict policy', async () => {
  const page = await fetch(url);
  assert.equal(page.headers.get('content-security-policy'), POLICY);
  assert.match(await page.text(), /^<!doctype html>/);
  const types = { 'page.css': 'text/css', 'page.js': 'text/javascript', 'icon.svg': 'image/svg+xml',
    'manifest.webmanifest': 'application/manifest+json', 'sw.js': 'text/javascript' };
  for (const [name, type] of Object.entries(types)) {
    const file = await fetch(new URL(name, url));
    assert.equal(file.status, 200, name);
    assert.ok(file.headers.get('content-type').startsWith(type), name);
  }
  assert.equal((await fetch(new URL('_app/version.json', url))).status, 200);
});

onPage('an answer streams in and outlasts a reload', async page => {
  await say(page, 'Hello there');
  const text = await answers(page).innerText();
  assert.ok(text.trim());
  if (!given) assert.equal(text, 'You said: Hello there');
  assert.match(await page.locator('#status').innerText(),
    /^[\d.]+ tokens\/s · \d+ tokens · context used: [\d,]+ of [\d,]+$/);
  await page.reload();
  assert.equal(await answers(page).innerText(), text);
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'Hello there');
});

onPage('an answer is drawn while it comes, and Stop and Escape keep what came', async page => {
  await unlimited(page);
  // A real server may be done before it is stopped.
  const press = () => page.getByRole('button', { name: 'Stop' }).click({ timeout: 5000 })
    .catch(error => { if (!given) throw error; });
  for (const stop of [press, () => page.keyboard.press('Escape')]) {
    await page.getByRole('button', { name: 'New conversation' }).click();
    await prompt(page).fill('Tell a long story');
    await prompt(page).press('Enter');
    await page.waitForFunction(() =>
      document.querySelector('article.assistant .said')?.innerText.length > 20);
    await stop();
    await settle(page);
    const text = await answers(page).innerText();
    if (!given) assert.ok(text.length > 20 && text.length < 5000, `${text.length}`);
    if (!given) assert.equal(await page.locator('article.assistant .actions span').innerText(),
      'Stopped.');
    await page.reload();
    assert.equal(await answers(page).innerText(), text);
    await unlimited(page);
  }
});

onPage('screen readers hear whole sentences, seldom', onMock, async page => {
  await unlimited(page);
  await page.evaluate(() => {
    window.heard = [];
    new MutationObserver(list => list.forEach(({ addedNodes }) =>
      addedNodes.forEach(node => heard.push(node.textContent))))
      .observe(document.getElementById('spoken'), { childList: true });
  });
  await prompt(page).fill('Tell a long story');
  await prompt(page).press('Enter');
  await page.waitForTimeout(7500);
  await page.keyboard.press('Escape');
  await settle(page);
  const heard = await page.evaluate(() => window.heard);
  assert.ok(heard.length === 3 || heard.length === 4, JSON.stringify(heard));
  assert.equal(heard.pop(), 'Stopped.');
  assert.equal(heard.join(' '), (await answers(page).innerText()).trim());
  heard.pop();
  for (const one of heard) assert.match(one, /^One sentence.*here\.$/s);
});

onPage('several conversations: open, rename, delete, undo, back', async page => {
  await say(page, 'About apples');
  await page.getByRole('button', { name: 'New conversation' }).click();
  assert.equal(await page.locator('article').count(), 0);
  await say(page, 'About pears');
  const links = page.locator('#list a');
  assert.deepEqual(await links.allInnerTexts(), ['About pears', 'About apples']);
  await page.getByRole('link', { name: 'About apples' }).click();
  assert.match(await page.locator('article.user').innerText(), /apples/);
  assert.equal(await page.locator('#list [aria-current=page]').innerText(), 'About apples');
  await page.goBack();
  assert.match(await page.locator('article.user').innerText(), /pears/);

  await page.getByRole('button', { name: 'Rename: About pears' }).click();
  await page.getByRole('textbox', { name: 'Title' }).fill('Fruit');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Fruit' }).waitFor();
  await page.getByRole('button', { name: 'Delete: Fruit' }).click();
  assert.deepEqual(await links.allInnerTexts(), ['About apples']);
  assert.equal((await kept(page)).length, 1);
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.deepEqual(await links.allInnerTexts(), ['Fruit', 'About apples']);
  assert.equal((await kept(page)).length, 2);
  await page.reload();
  assert.match(await page.locator('article.user').innerText(), /pears/);
});

onPage('messages are edited, answers regenerated and copied, and both undone', async page => {
  await say(page, 'First question');
  await say(page, 'Second question');
  await page.getByRole('button', { name: 'Edit' }).first().click();
  await page.getByRole('textbox', { name: 'Your message' }).fill('Another question');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('article').length === 2);
  await settle(page);
  assert.match(await page.locator('article.user .said').innerText(), /^Another question$/);
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.deepEqual(await page.locator('article.user .said').allInnerTexts(),
    ['First question', 'Second question']);
  const old = await answers(page).allInnerTexts();
  await page.getByRole('button', { name: 'Regenerate' }).first().click();
  await page.waitForFunction(() => document.querySelectorAll('article').length === 2);
  await settle(page);
  await page.getByRole('button', { name: 'Undo' }).click();
  assert.deepEqual(await answers(page).allInnerTexts(), old);
  await page.locator('article.assistant').last().getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  if (!given) assert.equal(await page.evaluate(() => navigator.clipboard.readText()), old[1]);
});

onPage('settings are sent, those left empty are not', async page => {
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByRole('textbox', { name: 'System prompt' }).fill('Speak like a pirate.');
  const numbers =
    { Temperature: '0.25', 'Top k': '7', 'Most tokens in an answer': '5', Seed: '42' };
  for (const [name, value] of Object.entries(numbers))
    await page.getByRole('spinbutton', { name }).fill(value);
  await page.getByRole('checkbox').uncheck();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
  await page.reload();
  const [request] = await Promise.all([page.waitForRequest(/chat\/completions/),
    say(page, 'Where is the treasure in this long story?')]);
  const { model, ...body } = request.postDataJSON();
  assert.ok(model);
  assert.deepEqual(body, {
    messages: [{ role: 'system', content: 'Speak like a pirate.' },
      { role: 'user', content: 'Where is the treasure in this long story?' }],
    stream: true, stream_options: { include_usage: true }, return_progress: true,
    temperature: 0.25, top_k: 7, max_tokens: 5, seed: 42,
    chat_template_kwargs: { enable_thinking: false },
  });
  if (!given) assert.equal(await page.locator('article.assistant .actions span').innerText(),
    'Cut off at the limit of tokens.');
});

const secret = process.env.LLAMA2_PAGE_KEY ?? 'secret';

/** Has a server without a key refuse requests without this one. */
const locked = page => process.env.LLAMA2_PAGE_KEY || page.route(/\/(props|v1\/.*)$/,
  (route, request) => request.headers().authorization === `Bearer ${secret}` ? route.continue()
    : route.fulfill({ status: 401, json: { error: { code: 401, message: 'Invalid API Key',
      type: 'authentication_error' } } }));

onPage('the key is asked for and kept', { prepare: locked }, async page => {
  const dialog = page.getByRole('dialog', { name: 'This server asks for a key' });
  await dialog.getByLabel('API key').fill('wrong');
  await page.keyboard.press('Enter');
  await dialog.getByText('did not take the key').waitFor();
  await page.keyboard.press('Escape');
  await prompt(page).fill('Open sesame');
  await prompt(page).press('Enter');
  await dialog.getByLabel('API key').fill(secret);
  await dialog.getByRole('button', { name: 'Continue' }).click();
  await answers(page).waitFor();
  await settle(page);
  await page.reload();
  await say(page, 'And again');
  assert.equal(await answers(page).count(), 2);
});

onPage('errors are told in sentences, with Retry', async page => {
  const refuse = (status, error) => page.route(/chat\/completions/, route =>
    route.fulfill({ status, json: { error: { code: status, ...error } } }), { times: 1 });
  const problem = page.getByRole('alert');
  const cases = [
    [400, { type: 'exceed_context_size_error', message: 'x', n_prompt_tokens: 5000, n_ctx: 4096 },
      /has 5,000 tokens, and the model reads at most 4,096\. Begin a new one, or edit/],
    [503, { type: 'unavailable_error', message: 'Loading model' }, /still loading its model/],
    [503, { type: 'unavailable_error', message: 'all slots are busy' }, /busy with others/],
    [500, { type: 'server_error', message: 'out of luck' }, /error 500: out of luck/],
  ];
  await refuse(...cases[0]);
  await prompt(page).fill('Hello');
  await prompt(page).press('Enter');
  for (const [index, [, , sentence]] of cases.entries()) {
    await problem.filter({ hasText: sentence }).waitFor();
    if (cases[index + 1]) await refuse(...cases[index + 1]);
    else await page.route(/chat\/completions/, route => route.abort(), { times: 1 });
    await page.getByRole('button', { name: 'Retry' }).click();
  }
  await problem.filter({ hasText: 'The connection to the server was lost.' }).waitFor();
  await page.getByRole('button', { name: 'Retry' }).click();
  await answers(page).waitFor();
  await settle(page);
  assert.equal(await page.locator('#problem').isVisible(), false);
});

onPage('what came before a break is kept until another answer begins', onMock, async page => {
  for (const [text, sentence] of [['Please break', 'What had arrived is kept.'],
    ['Please fail', 'error 500: the model ran dry']]) {
    await prompt(page).fill(text);
    await prompt(page).press('Enter');
    await page.getByRole('alert').filter({ hasText: sentence }).waitFor();
    assert.equal(await answers(page).last().innerText(), 'You said: Please');
  }
  await page.route(/chat\/completions/, route => route.abort(), { times: 1 });
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('alert').filter({ hasText: 'was lost.' }).waitFor();
  assert.equal(await answers(page).last().innerText(), 'You said: Please');
  const last = (await kept(page))[0].messages.at(-1);
  assert.deepEqual([last.content, last.note], ['You said: Please', 'Incomplete.']);
});

onPage('the status tells how much of the prompt was read', onMock, async page => {
  await page.evaluate(() => {
    const status = document.getElementById('status');
    window.told = [];
    new MutationObserver(() => told.push(status.textContent)).observe(status, { childList: true });
  });
  await say(page, 'Have patience');
  const told = await page.evaluate(() => window.told);
  for (const share of ['0', '100'])
    assert.ok(told.includes(`Reading: ${share} % of 21 tokens`), JSON.stringify(told));
  assert.equal(await page.locator('#status').innerText(),
    '42.5 tokens/s · 4 tokens · context used: 25 of 4,096');
});

onPage('thoughts are folded away', onMock, async page => {
  await say(page, 'Please think');
  assert.equal(await page.locator('details').getAttribute('open'), null);
  await page.getByText('Thoughts').click();
  assert.equal(await page.locator('details > div').innerText(), 'Let me see.');
  await say(page, 'Go on');
  const messages = (await kept(page))[0].messages;
  assert.equal(messages[1].reasoning, 'Let me see.');
});

// ---- Markdown ------------------------------------------------------------------------------

const ATTACKS = [
  '<img src=x onerror="window.hit=1">', '<script>window.hit=1</script>',
  '[a](javascript:window.hit=1)', '[b](JaVaScRiPt:alert(1))', '[c](java\tscript:alert(1))',
  '[d](data:text/html,<script>window.hit=1</script>)', '<javascript:window.hit=1>',
  '[e](vbscript:x)', '[f](//evil.example)', '![g](https://evil.example/x.png)',
  '[h](https://ok.example/" onclick="window.hit=1)', '`<b onmouseover=window.hit=1>x</b>`',
  '```"><img src=x onerror=window.hit=1>\n<iframe src=javascript:window.hit=1>\n```',
  '| <img src=x onerror=window.hit=1> | b |\n|---|---|\n| <svg onload=window.hit=1> | d |',
  '[i](&#106;avascript:window.hit=1)', '<a href="javascript:window.hit=1">j</a>',
].join('\n\n');

onPage('what models and people write stays inert', async (page, context) => {
  const asked = [];
  context.on('request', request => asked.push(request.url()));
  await bring(page, { role: 'user', content: ATTACKS },
    { role: 'assistant', content: ATTACKS, reasoning: ATTACKS });
  await answers(page).waitFor();
  const found = await page.evaluate(() => {
    const nodes = [...document.querySelectorAll('#messages *')];
    return {
      tags: [...new Set(nodes.map(node => node.localName))],
      attributes: [...new Set(nodes.flatMap(node => node.getAttributeNames()))],
      links: [...document.querySelectorAll('#messages a')].map(({ href, rel }) => [href, rel]),
    };
  });
  assert.deepEqual(found.tags.filter(tag => /img|script|iframe|svg|object|b$/.test(tag)), []);
  assert.deepEqual(found.attributes.filter(name => /^on|style|src/.test(name)), []);
  assert.ok(found.links.length);
  for (const [href, rel] of found.links) {
    assert.match(href, /^https?:/);
    assert.equal(rel, 'noopener noreferrer nofollow');
  }
  await page.waitForTimeout(200);
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.deepEqual(asked.filter(one => !one.startsWith(new URL(url).origin) &&
    !one.startsWith('blob:')), []);
});

const MARKDOWN = [
  ['**a** and *b* _c_ __d__ ~~e~~ ***f***', '<p><strong>a</strong> and <em>b</em> <em>c</em> ' +
    '<strong>d</strong> <del>e</del> <em><strong>f</strong></em></p>'],
  ['2 * 3 * 4 snake_case_name a ** b', '<p>2 * 3 * 4 snake_case_name a ** b</p>'],
  ['**a *b* c**', '<p><strong>a <em>b</em> c</strong></p>'],
  ['**open `co*de`\nnext', '<p>**open <code>co*de</code>\nnext</p>'],
  ['# One\n### Two ##\ntext\n***', '<h3>One</h3><h5>Two</h5><p>text</p><hr>'],
  ['- a\n- b\n  - c\n\n  d\n- e\n\nf', '<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li>' +
    '</ul><p>d</p></li><li><p>e</p></li></ul><p>f</p>'],
  ['3. a\n4. b\n   * c\n5. d', '<ol start="3"><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li>' +
    '</ul></li><li><p>d</p></li></ol>'],
  ['In the year\n1984. It was', '<p>In the year\n1984. It was</p>'],
  ['> a\n> b\n\nc', '<blockquote><p>a\nb</p></blockquote><p>c</p>'],
  ['\\*a\\* `` b`c ``', '<p>*a* <code>b`c</code></p>'],
];

onPage('Markdown is drawn, and the same whole or letter by letter', async page => {
  const draw = (text, size) => page.evaluate(([source, step]) => {
    const node = document.createElement('div');
    const markdown = new Markdown(node);
    for (let at = 0; at < source.length; at += step) markdown.push(source.slice(at, at + step));
    markdown.end();
    node.normalize();
    return node.innerHTML;
  }, [text, size]);
  for (const [text, html] of MARKDOWN) assert.equal(await draw(text, 1e9), html, text);
  const all = MARKDOWN.map(([text]) => text).join('\n\n') + '\n\n' + ATTACKS + '\n\n' +
    'Head:\n| a | `b\\|c` |\n|:-:|--:|\n| 1 | **2** |\n| 3 |\n\n1. x\n   ```py\n   a\n\n     b\n' +
    '   ```\n2. y\n\n~~~\n# no\n~~~\nSee https://a.example/b_(c), or <mailto:a@b.example>.';
  const whole = await draw(all, 1e9);
  for (const size of [1, 2, 3, 7, 50]) assert.equal(await draw(all, size), whole, `${size}`);
  assert.ok(whole.includes('<code>a\n\n  b\n</code>'), whole);
  assert.ok(whole.includes('<p>Head:</p>'), whole);
  assert.ok(whole.includes('<td class="right"><strong>2</strong></td>'), whole);
});

onPage('the cost of an answer grows with its length only', async page => {
  const times = await page.evaluate(() => {
    const time = source => {
      const node = document.createElement('div');
      const markdown = new Markdown(node);
      const begin = performance.now();
      for (let at = 0; at < source.length; at += 100) markdown.push(source.slice(at, at + 100));
      markdown.end();
      return performance.now() - begin;
    };
    const kinds = { line: 'some *words* in **one** line ', code: 'let x = 1;\n', open: '**[`_',
      list: '- an *item*\n', rows: '| a | b |\n', quote: '> said\n', brackets: '[[a](' };
    const begin = { code: '```\n', rows: '| a | b |\n|---|---|\n' };
    return Object.entries(kinds).map(([name, text]) => {
      const make = size => (begin[name] ?? '') + text.repeat(size / text.length);
      time(make(10_000));
      return [name, time(make(10_000)), time(make(40_000))];
    });
  });
  // Four times the text takes four times as long; quadratic cost would take sixteen times.
  for (const [name, short, long] of times)
    assert.ok(long < 9 * short + 200, `${name}: ${short} ms, ${long} ms`);
});

// ---- What the browser keeps ----------------------------------------------------------------

onPage('two tabs with one conversation lose nothing', onMock, async (page, context) => {
  await say(page, 'Shared start');
  const other = await context.newPage();
  await other.goto(page.url());
  await answers(other).waitFor();
  await say(page, 'From the first tab');
  await answers(other).nth(1).waitFor();
  await unlimited(page);
  await prompt(page).fill('Tell a long story');
  await prompt(page).press('Enter');
  await answers(page).nth(2).waitFor();
  await answers(other).nth(2).waitFor();
  await say(other, 'From the second tab');
  await page.getByText('Another tab changed this conversation too').waitFor();
  await page.keyboard.press('Escape');
  await settle(page);
  const texts = (await kept(page)).map(chat => chat.messages.map(one => one.content).join('\n'));
  assert.equal(texts.length, 2);
  assert.ok(texts.some(text => text.includes('From the second tab')));
  assert.ok(texts.every(text => text.includes('From the first tab')));
  assert.equal(await page.locator('#list a').count(), 2);
  await other.getByRole('button', { name: 'Delete: Shared start', exact: true }).click();
  await page.waitForFunction(() => document.querySelectorAll('#list a').length === 1);
});

onPage('without storage the page works and says so', {
  script: () => Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } }),
}, async page => {
  await page.getByText('This browser keeps nothing for this page').waitFor();
  await page.evaluate(() => { settings.max_tokens = 10; });
  await say(page, 'Hello');
  assert.ok((await answers(page).innerText()).trim());
});

onPage('a full storage is told', { script: () => {
  const set = Storage.prototype.setItem;
  Storage.prototype.setItem = function (key, value) {
    if (key.startsWith('llama2.chat.')) throw new DOMException('full', 'QuotaExceededError');
    set.call(this, key, value);
  };
} }, async page => {
  await say(page, 'Hello');
  await page.getByText('storage is full').waitFor();
});

onPage('conversations are exported and imported', async page => {
  await say(page, 'Keep me');
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Export all' }).click();
  const path = await (await download).path();
  await page.locator('#file').setInputFiles(path);
  await page.getByText('All of these are here already.').waitFor();
  await page.getByRole('button', { name: 'Delete: Keep me' }).click();
  await page.locator('#file').setInputFiles(path);
  await page.getByText('1 conversation was added.').waitFor();
  await page.getByRole('link', { name: 'Keep me' }).click();
  assert.ok((await answers(page).innerText()).trim());
  await page.locator('#file').setInputFiles({ name: 'x.json', mimeType: 'application/json',
    buffer: Buffer.from('{"conversations":[{"messages":[{"role":"system","content":3}]}]}') });
  await page.getByText('holds no conversations').waitFor();
});

// ---- Hands, eyes and sizes -----------------------------------------------------------------

onPage('the keyboard alone is enough', async page => {
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ??
    (document.activeElement.id || document.activeElement.textContent.trim()));
  const tabTo = async (name, key = 'Tab') => {
    for (let tries = 0; tries < 30; tries++) {
      if ((await focused()) === name) return;
      await page.keyboard.press(key);
    }
    assert.fail(`${name} was not reached, but ${await focused()}`);
  };
  assert.equal(await focused(), 'prompt');
  await page.keyboard.type('Two');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('lines');
  await page.keyboard.press('Enter');
  await answers(page).waitFor();
  await settle(page);
  assert.equal(await page.locator('article.user .said').innerText(), 'Two\nlines');
  await tabTo('skip', 'Shift+Tab');
  assert.ok(await page.locator('#skip').evaluate(node => node.getBoundingClientRect().top > 0));
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'prompt');
  await tabTo('Regenerate', 'Shift+Tab');
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid');
  await tabTo('Settings', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'Settings');
  await tabTo('Rename: Two', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('Named');
  await page.keyboard.press('Enter');
  await page.locator('#list a:focus', { hasText: 'Named' }).waitFor();
  await tabTo('Delete: Named');
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'undo');
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'prompt');
  assert.equal(await page.locator('#list a').count(), 1);
  // An Enter that picks a word of an input method sends nothing.
  await prompt(page).fill('にほん');
  await prompt(page).dispatchEvent('keydown', { key: 'Enter', isComposing: true });
  assert.equal(await prompt(page).inputValue(), 'にほん');
});

onPage('the end is followed only by those who are there', onMock, async page => {
  await unlimited(page);
  await prompt(page).fill('Tell a long story');
  await prompt(page).press('Enter');
  const place = () => page.evaluate(() => {
    const { scrollHeight, scrollTop, clientHeight } = document.getElementById('scroller');
    return { top: scrollTop, left: scrollHeight - scrollTop - clientHeight };
  });
  await page.waitForFunction(() => document.getElementById('scroller').scrollTop > 150);
  assert.ok((await place()).left < 30);
  await page.locator('#scroller').hover();
  await page.mouse.wheel(0, -120);
  await page.waitForFunction(() => !document.getElementById('to-end').hidden);
  const { top } = await place();
  await page.waitForTimeout(500);
  assert.equal((await place()).top, top);
  await page.getByRole('button', { name: 'Go to the end' }).click();
  await page.waitForTimeout(200);
  assert.ok((await place()).left < 30);
  await page.keyboard.press('Escape');
  await settle(page);
});

const WIDE = [
  'A wide word: ' + 'w'.repeat(300), '`' + 'code'.repeat(60) + '`',
  '```text\n' + 'x'.repeat(300) + '\n```',
  '| ' + 'column | '.repeat(12) + '\n|' + '---|'.repeat(12),
  '# ' + 'Heading'.repeat(20), 'https://example.org/' + 'path/'.repeat(40),
].join('\n\n');

onPage('360 pixels are wide enough, with a drawer', {
  context: { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true },
}, async page => {
  const overflow = () => page.evaluate(() => Math.max(document.documentElement.scrollWidth,
    ...['scroller', 'main', 'foot'].map(id => document.getElementById(id).scrollWidth)));
  const focused = () => page.evaluate(() => document.activeElement.id);
  assert.ok(await overflow() <= 360);
  const menu = page.getByRole('button', { name: 'Conversations', exact: true });
  await menu.click();
  assert.equal(await focused(), 'close-menu');
  assert.ok(await page.locator('#main').evaluate(node => node.inert), 'the rest is out of reach');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(), 'close-menu');
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'menu');
  await page.getByRole('navigation').waitFor({ state: 'hidden' });
  await menu.click();
  await bring(page, { role: 'user', content: WIDE }, { role: 'assistant', content: WIDE });
  await answers(page).waitFor();
  assert.ok(await overflow() <= 360);
  await page.getByRole('navigation').waitFor({ state: 'hidden' });
  for (const area of await page.locator('button:visible').all()) {
    const box = await area.boundingBox();
    assert.ok(box.width >= 24 && box.height >= 24, await area.innerText());
  }
  await page.getByRole('button', { name: 'Settings' }).click();
  const box = await page.getByRole('dialog').boundingBox();
  assert.ok(box.x >= 0 && box.x + box.width <= 360);
  assert.ok(await page.getByRole('dialog').evaluate(node => node.scrollWidth <= node.clientWidth));
});

const SHOWN = [
  { role: 'user', content: 'How do I count the words of a file in Rust?' },
  { role: 'assistant', reasoning: 'They want a short program.',
    stats: { tokens: 154, speed: 38.2, used: 212 },
    content: 'Read the file and split it at **white space**; `split_whitespace` knows all of ' +
      'Unicode’s.\n\n```rust\nfn main() -> std::io::Result<()> {\n    let text = ' +
      'std::fs::read_to_string("words.txt")?;\n    println!("{}", ' +
      'text.split_whitespace().count());\n    Ok(())\n}\n```\n\nOther ways to count:\n\n' +
      '| Unit  | Method |\n|-------|--------|\n| bytes | `text.len()` |\n' +
      '| lines | `text.lines().count()` |\n\n1. For large files, read line by line.\n' +
      '2. See [the documentation](https://doc.rust-lang.org/std/) of *std*.\n\n> Words are not ' +
      'always between spaces.' },
];

for (const colorScheme of ['light', 'dark']) {
  onPage(`axe finds nothing serious in ${colorScheme} colours`, { context: { colorScheme } },
    async page => {
      const check = async where => {
        const { violations } = await page.evaluate(`${axe}; axe.run()`);
        assert.deepEqual(violations.filter(({ impact }) => impact !== 'minor').map(one =>
          `${where}: ${one.id}: ${one.nodes.map(node => node.html).join(' ')}`), []);
      };
      await check('empty');
      await bring(page, ...SHOWN);
      await page.locator('summary').click();
      await check('messages');
      await page.getByRole('button', { name: 'Edit' }).click();
      await check('editing');
      await page.keyboard.press('Escape');
      await page.evaluate(() => { problems.set(current, { text: 'Trouble.' }); refresh(); });
      await check('problem');
      await page.getByRole('button', { name: 'Settings' }).click();
      await check('settings');
      await page.keyboard.press('Escape');
      await page.setViewportSize({ width: 360, height: 640 });
      await page.getByRole('button', { name: 'Conversations', exact: true }).click();
      await page.waitForTimeout(300);
      await check('drawer');
    });
}

onPage('the colours follow the system until they are chosen', async page => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  const toggle = page.getByRole('button', { name: 'Dark colours' });
  await toggle.click();
  const dark = await ground();
  assert.notEqual(dark, light);
  assert.equal(await toggle.getAttribute('aria-pressed'), 'true');
  await page.reload();
  assert.equal(await ground(), dark);
  await toggle.click();
  assert.equal(await ground(), light);
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await ground(), dark);
});

onPage('a picture for the documentation',
  { skip: process.env.LLAMA2_PICTURES === 'write' ? false : 'LLAMA2_PICTURES is not "write"' },
  async page => {
    for (const title of ['A poem about autumn', 'Names for a small boat', 'Why is the sky blue?'])
      await page.evaluate(text => {
        const chat = emptyChat();
        chat.title = text;
        save(chat);
      }, title);
    await page.reload();
    await bring(page, ...SHOWN);
    await page.evaluate(() => {
      current.title = 'Counting words in Rust';
      saveNow(current);
      toast('');
      refresh();
    });
    await page.setViewportSize({ width: 1200, height: 840 });
    await page.screenshot({ path: new URL('../../../docs/images/page.png',
      import.meta.url).pathname });
  });
