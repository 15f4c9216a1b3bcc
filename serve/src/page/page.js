// The page at `/`: conversations with the model of the server, kept in this browser.
//
// What models and people write becomes text nodes and a few known elements; nothing here writes
// HTML. The server forbids inline scripts and styles and all parts from elsewhere besides.
'use strict';

// ---- Small things --------------------------------------------------------------------------

const $ = id => document.getElementById(id);

/** An element with attributes (functions are listeners) and children. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(space, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(space, 'use'));
  svg.firstChild.setAttribute('href', '#icon-' + name);
  return svg;
}

const button = (text, click) => make('button', { type: 'button', click }, text);

const count = number => Math.round(number).toLocaleString('en');

// `crypto.randomUUID` is missing where the page comes over plain HTTP, as from most machines at
// home; so is `navigator.clipboard`.
const newId = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(3)), n => n.toString(36)).join('');

async function copy(text, from) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make('textarea', { class: 'unseen' });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    from.focus();
  }
  from.textContent = 'Copied';
  speak('Copied.');
  setTimeout(() => { from.textContent = 'Copy'; }, 1500);
}

// ---- What the browser keeps ----------------------------------------------------------------

const PREFIX = 'llama2.';
const CHAT = PREFIX + 'chat.';

/** Keeps things as long as the page is open, where the browser keeps nothing for longer. */
class Memory extends Map {
  getItem(key) { return this.get(key) ?? null; }
  setItem(key, value) { this.set(key, value); }
  removeItem(key) { this.delete(key); }
}

const store = (() => {
  try {
    const storage = window.localStorage;
    try {
      storage.setItem(PREFIX + 'try', '');
      storage.removeItem(PREFIX + 'try');
    } catch (error) {
      // A full storage can still be read; one that takes nothing while empty is none.
      if (storage.length === 0) throw error;
    }
    return storage;
  } catch {
    return new Memory();
  }
})();
const lasting = !(store instanceof Memory);

function stored(key, otherwise) {
  try {
    return JSON.parse(store.getItem(PREFIX + key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Whether there was room. */
function keep(key, value) {
  try {
    store.setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

const chats = new Map();
// The stored form of each conversation as this tab last read or wrote it: if the storage holds
// another one, another tab wrote since.
const known = new Map();
// A conversation's problem: a sentence, and the place of the answer to ask for again.
const problems = new WeakMap();
// The answers that are being written, by their conversations.
const jobs = new Map();

let settings = {};
let current = emptyChat();
let editing = null;

function emptyChat() {
  return { id: newId(), title: '', created: Date.now(), updated: Date.now(), messages: [] };
}

/** The conversation in what may be anything; null if there is none. */
function cleanChat(from) {
  if (!from || typeof from !== 'object' || !Array.isArray(from.messages)) return null;
  const chat = emptyChat();
  if (typeof from.id === 'string' && /^\w{1,64}$/.test(from.id)) chat.id = from.id;
  if (typeof from.title === 'string') chat.title = from.title.slice(0, 200);
  if (Number.isFinite(from.created)) chat.created = from.created;
  if (Number.isFinite(from.updated)) chat.updated = from.updated;
  for (const one of from.messages) {
    if (!one || typeof one.content !== 'string') return null;
    if (one.role !== 'user' && one.role !== 'assistant') return null;
    const message = { role: one.role, content: one.content };
    for (const name of ['reasoning', 'note'])
      if (typeof one[name] === 'string') message[name] = one[name];
    if (one.stats && typeof one.stats === 'object') {
      message.stats = {};
      for (const name of ['tokens', 'speed', 'used'])
        if (Number.isFinite(one.stats[name])) message.stats[name] = one.stats[name];
    }
    chat.messages.push(message);
  }
  return chat;
}

/** The stored conversation of this name, taken over; null if there is none. */
function read(id) {
  if (!/^\w{1,64}$/.test(id)) return null;
  const text = store.getItem(CHAT + id);
  let chat = null;
  try {
    chat = cleanChat(JSON.parse(text));
  } catch { /* Not ours, or broken: left as it is. */ }
  if (!chat) return null;
  chat.id = id;
  chats.set(id, chat);
  known.set(id, text);
  return chat;
}

function save(chat) {
  const there = store.getItem(CHAT + chat.id);
  if (there !== null && there !== known.get(chat.id)) {
    // Both tabs' words are kept: theirs under the old name, ours under a new one.
    const id = chat.id;
    chat.id = newId();
    chat.title = `${chat.title} (from another tab)`.slice(0, 200);
    chats.delete(id);
    read(id);
    if (chat === current) history.replaceState(null, '', '#' + chat.id);
    toast('Another tab changed this conversation too. What is here was kept as a second one.');
  }
  chats.set(chat.id, chat);
  const text = JSON.stringify(chat);
  const room = keep(CHAT + chat.id, text);
  if (room) known.set(chat.id, text);
  banner(!room && 'This browser’s storage is full: the newest messages are not kept. ' +
    'Export your conversations, then delete some.');
}

function banner(sentence) {
  const text = sentence || (lasting ? '' : 'This browser keeps nothing for this page: ' +
    'conversations end when it is closed. Export those that you want to keep.');
  if ($('banner').textContent !== text) $('banner').textContent = text;
  $('banner').hidden = !text;
}

// ---- Markdown ------------------------------------------------------------------------------

/** Links lead to the web and to mail only: above all, not to scripts. */
function safeAddress(text) {
  try {
    const url = new URL(text);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const linkTo = href => make('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' });

const PLAIN = /[^\\`*_~[!<h]+|./ys;
const LINK = new RegExp(String.raw`!?\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]` +
  String.raw`\(\s*(<[^<>\n]*>|[^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)` +
  String.raw`(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)`, 'ys');
const ADDRESS = new RegExp(String.raw`<((?:https?://|mailto:)[^\s<>]+)>` +
  String.raw`|(https?://[^\s<>"'\x60]*[^\s<>"'\x60.,:;!?*_~)\]])`, 'y');
const RUN = /\*+|_+|~~/y;
const TICKS = /`+/y;
const WRAPS = { '*': ['em', 'strong'], _: ['em', 'strong'], '~': ['del', 'del'] };

/** Appends text with emphasis, code and links. With `open`, bold type may lack its end yet. */
function inline(source, into, open = false, links = true) {
  const openers = [];
  let text = '';
  const flush = () => {
    if (text) into.append(text);
    text = '';
  };
  const put = node => {
    flush();
    into.append(node);
  };
  const wrap = (opener, size) => {
    const node = document.createElement(WRAPS[opener.sign][size - 1]);
    while (opener.node.nextSibling) node.append(opener.node.nextSibling);
    opener.node.data = opener.node.data.slice(size);
    into.append(node);
  };
  for (let at = 0; at < source.length;) {
    const match = pattern => { pattern.lastIndex = at; return pattern.exec(source); };
    const sign = source[at];
    let found;
    if (sign === '\\' && /[!-/:-@[-`{-~]/.test(source[at + 1] ?? '')) {
      text += source[at + 1];
      at += 2;
    } else if (sign === '`') {
      const ticks = match(TICKS)[0];
      let end = source.indexOf(ticks, at + ticks.length);
      while (end >= 0 && source[end + ticks.length] === '`') {
        while (source[end] === '`') end++;
        end = source.indexOf(ticks, end);
      }
      if (end < 0) {
        text += ticks;
        at += ticks.length;
      } else {
        const code = source.slice(at + ticks.length, end);
        put(make('code', {}, code.replace(/^ (.*\S.*) $/s, '$1')));
        at = end + ticks.length;
      }
    } else if (links && (sign === '[' || sign === '!') && (found = match(LINK))) {
      const href = safeAddress(found[2].replace(/^<|>$/g, ''));
      if (href) {
        const link = linkTo(href);
        inline(found[1] || found[2], link, false, false);
        put(link);
      } else {
        text += found[0];
      }
      at += found[0].length;
    } else if (links && (sign === '<' || sign === 'h') && (found = match(ADDRESS))) {
      const href = safeAddress(found[1] ?? found[2]);
      if (href) {
        const link = linkTo(href);
        link.append(found[1] ?? found[2]);
        put(link);
      } else {
        text += found[0];
      }
      at += found[0].length;
    } else if ((found = match(RUN))) {
      const before = source[at - 1] ?? ' ';
      at += found[0].length;
      const after = source[at] ?? ' ';
      const word = /[\p{L}\p{N}_]/u;
      const opens = /\S/.test(after) && !(sign === '_' && word.test(before));
      const closes = /\S/.test(before) && !(sign === '_' && word.test(after));
      let size = found[0].length;
      while (closes && size > 0) {
        const index = openers.findLastIndex(one => one.sign === sign);
        if (index < 0) break;
        const opener = openers[index];
        const used = sign === '~' ? 2 : Math.min(2, size, opener.node.data.length);
        flush();
        wrap(opener, used);
        openers.length = opener.node.data ? index + 1 : index;
        size -= used;
      }
      if (opens && size > 0) {
        const node = document.createTextNode(sign.repeat(size));
        put(node);
        openers.push({ sign, node });
      } else {
        text += sign.repeat(size);
      }
    } else {
      text += match(PLAIN)[0];
      at = PLAIN.lastIndex;
    }
  }
  flush();
  // While an answer arrives, its bold type doesn't blink from asterisks to letters.
  const last = openers.at(-1);
  if (open && last?.node.data === '**' && last.node.nextSibling) wrap(last, 2);
}

const FENCE = /^ {0,3}(`{3,}|~{3,}) *([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const ALIGN = /^ *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;
const STARTS = [FENCE, HEADING, RULE, QUOTE, ITEM];
// No piece of text is drawn twice that is longer than this, and no line waits to be longer: the
// cost of an answer stays proportional to its length, whatever a model writes.
const LONG = 2048;
const DEEP = 12;

/** Draws Markdown as it arrives. Lines that have ended are drawn once; the last, open one is drawn
 *  as a draft that the next piece takes back. */
class Markdown {
  constructor(node) {
    this.boxes = [{ kind: 'root', node }]; // what the next line is inside of, outermost first
    this.leaf = null; // the paragraph, code or table that the next line may go on with
    this.tail = ''; // the line that has not ended
    this.joined = false; // whether the next line goes on with one that was too long
    this.draft = null;
  }

  push(text) {
    this.takeBack();
    this.tail += text;
    let from = 0;
    for (let end; (end = this.tail.indexOf('\n', from)) >= 0; from = end + 1)
      this.cut(this.tail.slice(from, end), true);
    this.tail = this.tail.slice(from);
    if (this.tail.length > LONG) this.tail = this.cut(this.tail, false);
    if (this.tail) {
      this.draft = {
        boxes: this.boxes.slice(),
        leaf: this.leaf && { ...this.leaf },
        joined: this.joined,
        last: [...this.boxes, ...(this.leaf?.kind === 'words' ? [] : [this.leaf])]
          .filter(Boolean).map(({ node }) => [node, node.lastChild]),
      };
      this.line(this.tail, false);
    }
    this.show(true);
  }

  end() {
    this.takeBack();
    if (this.tail) this.line(this.tail, true);
    this.tail = '';
    this.show();
  }

  takeBack() {
    if (!this.draft) return;
    for (const [node, last] of this.draft.last)
      while (node.lastChild !== last) node.lastChild.remove();
    ({ boxes: this.boxes, leaf: this.leaf, joined: this.joined } = this.draft);
    this.draft = null;
  }

  /** Draws a line in pieces that are not too long; returns what is left of one without an end. */
  cut(line, whole) {
    while (line.length > LONG) {
      const length = line.lastIndexOf(' ', LONG - 1) + 1 || LONG;
      this.line(line.slice(0, length), false);
      this.joined = true;
      line = line.slice(length);
    }
    if (whole) this.line(line.replace(/\r$/, ''), true);
    return line;
  }

  line(line, whole) {
    if (this.joined) {
      this.joined = !whole;
      if (this.leaf?.kind === 'code') this.leaf.node.append(line, whole ? '\n' : '');
      else this.words(line, '');
      return;
    }
    const inCode = this.leaf?.kind === 'code';
    let text = inCode ? line : line.replace(/^[ \t]+/, s => s.replaceAll('\t', '    '));
    let depth = 1;
    for (; depth < this.boxes.length; depth++) {
      const box = this.boxes[depth];
      if (box.kind === 'quote') {
        const sign = QUOTE.exec(text);
        if (!sign) break;
        text = text.slice(sign[0].length);
      } else if (box.kind === 'item') {
        const space = /^ */.exec(text)[0].length;
        // Models often forget to indent code within an item.
        if (space < box.indent && text.trim() && !inCode) break;
        text = text.slice(Math.min(space, box.indent));
      }
    }
    if (inCode && depth === this.boxes.length) {
      const { fence, node } = this.leaf;
      if (text.trim().startsWith(fence) && !text.trim().replaceAll(fence[0], '')) this.leaf = null;
      else node.append(text, whole ? '\n' : '');
      return;
    }
    if (!text.trim()) {
      this.close();
      this.boxes.length = depth;
      return;
    }
    if (depth < this.boxes.length) {
      if (this.leaf?.kind === 'words' && !STARTS.some(start => start.test(text)))
        return this.words(text);
      this.close();
      this.boxes.length = depth;
    }
    for (let found; this.boxes.length < DEEP;) {
      if ((found = QUOTE.exec(text))) {
        this.open('quote', 'blockquote');
      } else if ((found = ITEM.exec(text)) && !RULE.test(text) &&
          // Of a sentence's words, "1." alone begins a list: years at a line's start do not.
          (this.leaf?.kind !== 'words' || /^ *(?:[-*+]|1[.)]) +\S/.test(text))) {
        this.item(found, text);
      } else {
        break;
      }
      text = text.slice(found[0].length);
    }
    if (this.boxes.at(-1).kind === 'list') this.boxes.pop();
    this.block(text, whole);
  }

  /** A line without the signs of what it is inside of. */
  block(text, whole) {
    let found;
    if ((found = FENCE.exec(text))) {
      this.close();
      const code = make('code');
      const language = found[2].trim().split(/\s/)[0];
      const copyButton = button('Copy', () => copy(code.textContent, copyButton));
      copyButton.setAttribute('aria-label', 'Copy the code');
      this.add(make('div', { class: 'code' },
        make('div', {}, make('span', {}, language || 'Text'), copyButton),
        make('pre', { tabindex: 0, role: 'region', 'aria-label': `Code ${language}` }, code)));
      this.leaf = { kind: 'code', node: code, fence: found[1] };
    } else if ((found = HEADING.exec(text))) {
      this.close();
      // The page's title and the speakers are the headings above.
      const heading = make('h' + Math.min(6, found[1].length + 2));
      inline(found[2] ?? '', heading);
      this.add(heading);
    } else if (RULE.test(text)) {
      this.close();
      this.add(make('hr'));
    } else if (this.leaf?.kind === 'table' && text.includes('|')) {
      this.row(text, 'td');
    } else if (whole && ALIGN.test(text) && this.leaf?.kind === 'words' && this.headed(text)) {
      // The paragraph's last line turns out to be the head.
      const lines = this.leaf.text.split('\n');
      const head = lines.pop();
      this.leaf.text = lines.join('\n');
      this.show();
      if (!lines.length) this.leaf.node.remove();
      const aligns = cells(text).map(one =>
        /^:-*:$/.test(one) ? 'center' : one.endsWith(':') ? 'right' : 'left');
      const body = make('tbody');
      this.leaf = { kind: 'table', node: body, aligns };
      this.add(make('div', { class: 'table', tabindex: 0, role: 'region', 'aria-label': 'Table' },
        make('table', {}, make('thead'), body)));
      this.row(head, 'th');
      body.previousSibling.append(body.lastChild);
    } else {
      this.words(text);
    }
  }

  headed(text) {
    const head = this.leaf.text.split('\n').at(-1);
    return head.includes('|') && cells(head).length === cells(text).length;
  }

  row(text, tag) {
    const row = make('tr');
    const texts = cells(text);
    this.leaf.aligns.forEach((align, index) => {
      const cell = make(tag, { class: align });
      if (tag === 'th') cell.scope = 'col';
      inline(texts[index] ?? '', cell);
      row.append(cell);
    });
    this.leaf.node.append(row);
  }

  item([all, space, sign], text) {
    const kind = sign.at(-1);
    let top = this.boxes.at(-1);
    this.close();
    if (top.kind !== 'list' || top.sign !== kind) {
      if (top.kind === 'list') this.boxes.pop();
      this.open('list', /\d/.test(sign) ? 'ol' : 'ul');
      top = this.boxes.at(-1);
      top.sign = kind;
      if (parseInt(sign) > 1) top.node.setAttribute('start', parseInt(sign));
    }
    this.open('item', 'li');
    const narrow = space.length + sign.length + 1;
    const usual = all.length < text.length && all.length - narrow < 4;
    this.boxes.at(-1).indent = usual ? all.length : narrow;
  }

  open(kind, tag) {
    this.close();
    if (kind !== 'item' && this.boxes.at(-1).kind === 'list') this.boxes.pop();
    const node = make(tag);
    this.add(node);
    this.boxes.push({ kind, node });
  }

  words(text, between = '\n') {
    if (this.leaf?.kind !== 'words') {
      this.close();
      this.leaf = { kind: 'words', node: make('p'), text: '', kept: null };
      this.add(this.leaf.node);
    }
    const leaf = this.leaf;
    leaf.text += (leaf.text && between) + (between ? text.trimStart() : text);
    if (!this.draft && leaf.text.length > LONG) {
      const length = leaf.text.lastIndexOf(' ', LONG - 1) + 1 || LONG;
      const rest = leaf.text.slice(length);
      leaf.text = leaf.text.slice(0, length);
      this.show();
      leaf.kept = leaf.node.lastChild;
      leaf.text = rest;
    }
  }

  add(node) {
    this.boxes.at(-1).node.append(node);
  }

  close() {
    this.show();
    this.leaf = null;
  }

  /** Draws the open paragraph, as far as it may still change. (The style keeps its lines.) */
  show(open) {
    if (this.leaf?.kind !== 'words') return;
    const { node, kept, text } = this.leaf;
    while (node.lastChild !== kept) node.lastChild.remove();
    inline(text, node, open);
  }
}

const cells = row => row.trim().replace(/^\||(?<!\\)\|$/g, '').split(/(?<!\\)\|/)
  .map(cell => cell.trim().replaceAll('\\|', '|'));

// ---- Messages ------------------------------------------------------------------------------

/** A message on the page. `update` draws what was added to the message since. */
class View {
  constructor(chat, message) {
    this.chat = chat;
    this.message = message;
    const user = message.role === 'user';
    this.said = make('div', { class: 'said' });
    this.actions = make('div', { class: 'actions' });
    const who = make('h2', { class: 'who' }, user ? 'You' : 'Assistant');
    this.node = make('article', { class: message.role }, who, this.said, this.actions);
    if (user) {
      this.said.append(message.content);
    } else {
      this.markdown = new Markdown(this.said);
      this.drawn = 0;
      this.thought = 0;
    }
    this.update(jobs.get(chat)?.message === message);
  }

  update(going) {
    const { message } = this;
    if (this.markdown) {
      const thoughts = message.reasoning ?? '';
      if (thoughts.length > this.thought) {
        if (!this.thoughts) {
          this.thoughts = make('div');
          this.summary = make('summary');
          this.said.before(make('details', {}, this.summary, this.thoughts));
        }
        this.thoughts.append(thoughts.slice(this.thought));
        this.thought = thoughts.length;
      }
      if (this.summary)
        this.summary.textContent = going && !message.content ? 'Thinking …' : 'Thoughts';
      if (message.content.length > this.drawn) {
        this.markdown.push(message.content.slice(this.drawn));
        this.drawn = message.content.length;
      }
      if (!going) this.markdown.end();
    }
    if (going === this.going) return;
    this.going = going;
    this.actions.replaceChildren();
    if (going) return;
    const copyButton = button('Copy', () => copy(message.content, copyButton));
    this.actions.append(copyButton, message.role === 'user'
      ? button('Edit', () => this.edit())
      : button('Regenerate', () => regenerate(this.chat, message)));
    if (message.note) this.actions.append(make('span', { class: 'quiet' }, message.note));
  }

  edit() {
    if (editing) editing.cancel();
    const area = make('textarea', { 'aria-label': 'Your message' });
    area.value = this.message.content;
    const close = () => {
      editing = null;
      form.replaceWith(this.said);
      this.actions.hidden = false;
    };
    const send = () => {
      const text = area.value.trim();
      if (!text) return;
      close();
      resend(this.chat, this.message, text);
    };
    const cancel = () => {
      close();
      this.actions.querySelectorAll('button')[1]?.focus();
    };
    const form = make('form', {
      submit: event => { event.preventDefault(); send(); },
      keydown: event => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          cancel();
        } else if (isSend(event)) {
          event.preventDefault();
          send();
        }
      },
    }, area, make('div', { class: 'buttons' }, make('button', { class: 'strong' }, 'Send again'),
      button('Cancel', cancel)));
    editing = { chat: this.chat, cancel };
    this.said.replaceWith(form);
    this.actions.hidden = true;
    area.focus();
  }
}

let views = [];
let atEnd = true;

function toEnd() {
  const box = $('scroller');
  if (atEnd) box.scrollTop = box.scrollHeight;
  $('to-end').hidden = atEnd;
}

function show(chat) {
  editing = null;
  current = chat;
  views = chat.messages.map(message => new View(chat, message));
  const empty = make('div', { class: 'empty' }, make('h2', {}, 'What shall we talk about?'),
    make('p', { class: 'quiet' }, 'The model on this server answers. It can be wrong.'));
  $('messages').replaceChildren(...(views.length ? views.map(view => view.node) : [empty]));
  atEnd = true;
  toEnd();
  refresh();
}

/** Brings to date all that is around the messages. */
function refresh() {
  const title = current.title || 'New conversation';
  $('title').textContent = title;
  document.title = `${title} – llama2`;
  const job = jobs.get(current);
  const inStop = document.activeElement === $('stop') || document.activeElement === $('send');
  $('send').hidden = Boolean(job);
  $('stop').hidden = !job;
  if (inStop) (job ? $('stop') : $('send')).focus();
  const last = current.messages.at(-1);
  const problem = problems.get(current)?.text ??
    (!job && last?.role === 'user' ? 'This message has no answer yet.' : '');
  if ($('problem-text').textContent !== problem) $('problem-text').textContent = problem;
  $('problem').hidden = !problem || Boolean(job);
  status();
  list();
  toEnd();
}

function status() {
  const job = jobs.get(current);
  const stats = current.messages.findLast(message => message.stats)?.stats;
  const parts = [];
  if (job && !job.message) {
    const { processed, total } = job.progress ?? {};
    parts.push(total
      ? `Reading: ${Math.floor(100 * processed / total)} % of ${count(total)} tokens`
      : 'Waiting for the server …');
  } else if (stats) {
    if (stats.speed) parts.push(`${stats.speed.toFixed(stats.speed < 10 ? 2 : 1)} tokens/s`);
    if (stats.tokens) parts.push(`${count(stats.tokens)} tokens`);
  }
  if (stats?.used) {
    const room = server.context ? ` of ${count(server.context)}` : '';
    parts.push(`context used: ${count(stats.used)}${room}`);
  }
  $('status').textContent = parts.join(' · ');
}

function list(focused) {
  const all = [...chats.values()].sort((a, b) => b.updated - a.updated);
  $('none').hidden = all.length > 0;
  // The list is drawn anew, but the focus stays where it is.
  const active = document.activeElement;
  const row = active?.closest('#list li');
  const held = focused ?? row?.firstChild.hash.slice(1);
  const place = focused || !row ? 0 : [...row.children].indexOf(active);
  $('list').replaceChildren(...all.map(chat => {
    const title = chat.title || 'Untitled';
    const link = make('a', { href: '#' + chat.id, title }, title);
    if (chat === current) link.setAttribute('aria-current', 'page');
    if (jobs.has(chat)) link.className = 'busy';
    const act = (name, label, click) => make('button',
      { type: 'button', class: 'icon', 'aria-label': `${label}: ${title}`, click }, icon(name));
    return make('li', {}, link, act('rename', 'Rename', () => rename(chat)),
      act('delete', 'Delete', () => remove(chat)));
  }));
  if (held) $('list').querySelector(`[href="#${held}"]`)?.parentNode.children[place].focus();
}

let undoing = null;

function toast(sentence, undo = null) {
  $('toast-text').textContent = sentence;
  $('toast').hidden = !sentence;
  $('undo').hidden = !undo;
  undoing = undo;
}

/** Lets the reader take back what is about to be done to the messages. */
function undoable(chat, sentence) {
  const before = chat.messages.slice();
  toast(sentence, () => {
    jobs.get(chat)?.controller.abort();
    chat.messages = before;
    problems.delete(chat);
    save(chat);
    go(chat);
  });
}

// ---- What screen readers say ---------------------------------------------------------------

function speak(text) {
  const box = $('spoken');
  box.append(make('p', {}, text));
  // What is taken away isn't said, and nothing old is found by one who wanders here.
  while (box.childElementCount > 6) box.firstChild.remove();
}

/** Says whole sentences, a few seconds apart, so that an answer is heard once and in order. */
function speakAnswer(job, done) {
  const text = job.message.content;
  if (!done && Date.now() - job.spokenAt < 3000) return;
  const news = text.slice(job.spoken);
  const end = done ? news.length : Math.max(news.lastIndexOf('\n'),
    news.lastIndexOf('. '), news.lastIndexOf('! '), news.lastIndexOf('? ')) + 1;
  if (end <= 0) return;
  job.spoken += end;
  job.spokenAt = Date.now();
  const words = news.slice(0, end).replace(/[*_`#|>]+/g, ' ').trim();
  if (words && job.chat === current) speak(words);
}

// ---- The server ----------------------------------------------------------------------------

const server = { model: '', context: 0 };
const NUMBERS = ['temperature', 'top_k', 'top_p', 'min_p', 'repeat_penalty', 'max_tokens', 'seed'];
let connecting = 0;

function api(path, options = {}) {
  const key = store.getItem(PREFIX + 'key');
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  // Paths are relative: a proxy may have put the server below another one's address.
  return fetch(path, { ...options, headers, cache: 'no-store' });
}

async function connect() {
  clearTimeout(connecting);
  const later = sentence => {
    $('model').textContent = sentence;
    connecting = setTimeout(connect, 3000);
  };
  try {
    const response = await api('props');
    if (response.status === 401) {
      $('model').textContent = 'Waiting for the API key';
      return askKey();
    }
    if (response.status === 503) return later('The server is loading its model …');
    const props = response.ok ? await response.json() : {};
    const defaults = props.default_generation_settings ?? {};
    server.context = Number(defaults.n_ctx) || 0;
    server.params = defaults.params ?? {};
    server.model = props.model_alias || '';
    if (!server.model) {
      const models = await (await api('v1/models')).json();
      server.model = String(models.data?.[0]?.id ?? '');
    }
    $('model').textContent = server.model.split(/[/\\]/).at(-1) || 'Connected';
    status();
  } catch {
    later('No connection to the server …');
  }
}

/** Something that the reader is told in a sentence. */
class Failure extends Error {
  constructor(sentence, unauthorized = false) {
    super(sentence);
    this.unauthorized = unauthorized;
  }
}

function failure(code, error = {}) {
  const text = typeof error === 'string' ? error : String(error.message ?? '');
  if (code === 401) return new Failure('The server asks for a key.', true);
  if (error.type === 'exceed_context_size_error') {
    const [needs, room] = [Number(error.n_prompt_tokens), Number(error.n_ctx)];
    const sizes = needs && room
      ? `This conversation has ${count(needs)} tokens, and the model reads at most ${count(room)}.`
      : 'This conversation is longer than the model can read.';
    return new Failure(`${sizes} Begin a new one, or edit an earlier message to go on from there.`);
  }
  if (code === 503 && /load/i.test(text))
    return new Failure('The server is still loading its model. Retry in a moment.');
  if (code === 503 || code === 429)
    return new Failure('The server is busy with others. Retry in a moment.');
  const said = text ? `: ${text}` : '.';
  return new Failure(code ? `The server refused with error ${code}${said}` : `An error${said}`);
}

function requestFor(messages) {
  const body = {
    messages: messages.filter(({ role, content }) => role === 'user' || content)
      .map(({ role, content }) => ({ role, content })),
    stream: true,
    stream_options: { include_usage: true },
    return_progress: true,
  };
  if (settings.system) body.messages.unshift({ role: 'system', content: settings.system });
  if (server.model) body.model = server.model;
  for (const name of NUMBERS)
    if (typeof settings[name] === 'number') body[name] = settings[name];
  if (settings.thinking === false) body.chat_template_kwargs = { enable_thinking: false };
  return body;
}

/** Calls `take` with each event of a streamed answer until it is complete. */
async function stream(body, signal, take) {
  const response = await api('v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw failure(response.status, answer?.error ?? {});
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    // An answer that just ends was cut off.
    if (done) throw new TypeError('cut off');
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const [, field, text] = /^(data|error): ?(.*)/s.exec(line) ?? [];
      if (!field) continue;
      if (text.trim() === '[DONE]') return;
      const event = JSON.parse(text);
      const error = event.error ?? (field === 'error' ? event : null);
      if (error) throw failure(Number(error.code) || 0, error);
      take(event);
    }
  }
}

// ---- Asking --------------------------------------------------------------------------------

/** Has the model answer the messages before the one at `until`, which the answer replaces once it
 *  begins: until then, and if it never comes, what was there stays. */
async function answer(chat, until = chat.messages.length) {
  if (jobs.has(chat)) return;
  const job = { chat, controller: new AbortController(), message: null, progress: null,
    spoken: 0, spokenAt: Date.now(), savedAt: Date.now(), tokens: 0, frame: 0 };
  jobs.set(chat, job);
  problems.delete(chat);
  refresh();
  const fail = text => problems.set(chat, { text, until });
  let note = '';
  let key = false;
  try {
    await stream(requestFor(chat.messages.slice(0, until)), job.controller.signal,
      event => take(job, event, until));
    if (job.reason === 'length') note = 'Cut off at the limit of tokens.';
  } catch (error) {
    if (job.controller.signal.aborted) {
      note = 'Stopped.';
    } else if (error instanceof Failure) {
      key = error.unauthorized;
      fail(error.message);
    } else {
      fail('The connection to the server was lost.' +
        (job.message ? ' What had arrived is kept.' : ''));
      connect();
    }
    if (!note && job.message) note = 'Incomplete.';
  }
  cancelAnimationFrame(job.frame);
  jobs.delete(chat);
  if (job.message && chat.messages.includes(job.message)) {
    if (note) job.message.note = note;
    draw(job);
    speakAnswer(job, true);
    save(chat);
  }
  if (chat === current) {
    if (!problems.has(chat)) speak(note || 'The answer is complete.');
    refresh();
  } else {
    list();
  }
  if (key) askKey(() => answer(chat, until));
}

function take(job, event, until) {
  const { chat } = job;
  if (event.prompt_progress) {
    job.progress = event.prompt_progress;
    if (chat === current) status();
  }
  const choice = event.choices?.[0];
  const { content, reasoning_content: reasoning } = choice?.delta ?? {};
  if (content || reasoning) {
    if (!job.message) {
      job.message = { role: 'assistant', content: '', stats: {} };
      job.startedAt = performance.now();
      const replaced = until < chat.messages.length;
      if (replaced) undoable(chat, 'The answer was replaced.');
      chat.messages.splice(until, Infinity, job.message);
      if (chat === current && replaced) show(chat);
      else if (chat === current) addView(chat, job.message);
    }
    const { message } = job;
    if (reasoning) message.reasoning = (message.reasoning ?? '') + reasoning;
    if (content) message.content += content;
    // Until the server tells: events are tokens, as good as always.
    job.tokens++;
    const seconds = (performance.now() - job.startedAt) / 1000;
    message.stats.tokens = job.tokens;
    if (job.progress) message.stats.used = job.progress.total + job.tokens;
    if (seconds > 0.5) message.stats.speed = (job.tokens - 1) / seconds;
    job.frame ||= requestAnimationFrame(() => draw(job));
    if (Date.now() - job.savedAt > 2000) {
      job.savedAt = Date.now();
      save(chat);
    }
  }
  if (choice?.finish_reason) job.reason = choice.finish_reason;
  const { timings, usage } = event;
  const stats = job.message?.stats;
  if (!stats) return;
  if (timings) {
    stats.speed = timings.predicted_per_second;
    stats.tokens = timings.predicted_n;
    stats.used = (timings.cache_n ?? 0) + timings.prompt_n + timings.predicted_n;
  }
  if (usage) {
    stats.tokens = usage.completion_tokens;
    stats.used = usage.prompt_tokens + usage.completion_tokens;
  }
}

function addView(chat, message) {
  const view = new View(chat, message);
  if (!views.length) $('messages').replaceChildren();
  views.push(view);
  $('messages').append(view.node);
}

function draw(job) {
  job.frame = 0;
  if (job.chat !== current || !job.message) return;
  views.find(view => view.message === job.message)?.update(jobs.get(job.chat) === job);
  if (jobs.get(job.chat) === job) speakAnswer(job, false);
  status();
  toEnd();
}

function ask() {
  const text = $('prompt').value.trim();
  if (!text || jobs.has(current)) return;
  $('prompt').value = '';
  fit();
  const chat = current;
  if (!chat.title) chat.title = titleOf(text);
  const message = { role: 'user', content: text };
  chat.messages.push(message);
  addView(chat, message);
  atEnd = true;
  saveNow(chat);
  if (location.hash.slice(1) !== chat.id) history.pushState(null, '', '#' + chat.id);
  answer(chat);
}

/** What the reader does is the newest conversation; an answer that goes on is not. */
function saveNow(chat) {
  chat.updated = Date.now();
  save(chat);
}

function titleOf(text) {
  const line = text.split('\n')[0].trim();
  return line.length > 60 ? line.slice(0, 59).trimEnd() + '…' : line;
}

async function ended(chat) {
  jobs.get(chat)?.controller.abort();
  while (jobs.has(chat)) await new Promise(later => setTimeout(later));
}

async function resend(chat, message, text) {
  await ended(chat);
  const index = chat.messages.indexOf(message);
  if (index < 0) return;
  undoable(chat, 'The message was changed, and what followed it removed.');
  chat.messages.splice(index, Infinity, { role: 'user', content: text });
  saveNow(chat);
  show(chat);
  answer(chat);
  $('stop').focus();
}

async function regenerate(chat, message) {
  await ended(chat);
  const index = chat.messages.indexOf(message);
  if (index < 0) return;
  answer(chat, index);
  $('stop').focus();
}

function retry() {
  // An answer that broke off is replaced; a question without one is asked again.
  answer(current, problems.get(current)?.until);
  $('stop').focus();
}

// ---- Conversations -------------------------------------------------------------------------

function go(chat) {
  if (location.hash.slice(1) !== chat.id)
    history.pushState(null, '', chats.has(chat.id) ? '#' + chat.id : location.pathname);
  show(chat);
}

/** Shows the conversation that the address names, as after "back"; else a new one. */
function route() {
  const chat = chats.get(location.hash.slice(1));
  if (!chat || chat !== current) show(chat ?? emptyChat());
}

function startNew() {
  go(emptyChat());
  drawer(false);
  $('prompt').focus();
}

function rename(chat) {
  const form = $('rename').querySelector('form');
  form.elements.title.value = chat.title;
  dialog($('rename'), () => {
    chat.title = form.elements.title.value.trim() || chat.title;
    save(chat);
    refresh();
    list(chat.id);
  });
}

async function remove(chat) {
  await ended(chat);
  chats.delete(chat.id);
  known.delete(chat.id);
  store.removeItem(CHAT + chat.id);
  banner();
  if (chat === current) go(emptyChat());
  else list();
  toast(`“${chat.title || 'Untitled'}” was deleted.`, () => {
    save(chat);
    go(chat);
  });
  drawer(false);
  $('undo').focus();
}

function exportAll() {
  const text = JSON.stringify(
    { format: 'llama2-conversations', version: 1, conversations: [...chats.values()] }, null, 1);
  const url = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  const day = new Date().toISOString().slice(0, 10);
  make('a', { href: url, download: `conversations-${day}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function importFrom(file) {
  let found = [];
  try {
    found = JSON.parse(await file.text()).conversations.map(cleanChat).filter(Boolean);
  } catch { /* Told below. */ }
  if (!found.length) return toast('This file holds no conversations that were exported here.');
  let added = 0;
  for (const chat of found) {
    const same = chats.get(chat.id);
    if (same && JSON.stringify(cleanChat(same)) === JSON.stringify(chat)) continue;
    // Neither of two that go by one name is lost.
    if (same || store.getItem(CHAT + chat.id) !== null) chat.id = newId();
    save(chat);
    added++;
  }
  list();
  toast(added === 1 ? '1 conversation was added.'
    : added ? `${count(added)} conversations were added.` : 'All of these are here already.');
}

// ---- Dialogs and the drawer ----------------------------------------------------------------

/** Shows a dialog; calls `save` if it is closed by its main button. */
function dialog(node, save) {
  node.returnValue = '';
  node.onclose = () => node.returnValue === 'save' && save();
  if (!node.open) node.showModal();
}

function askKey(then = connect) {
  const key = $('ask-key').querySelector('input');
  if ($('ask-key').open) return;
  const wrong = store.getItem(PREFIX + 'key') !== null;
  $('key-text').textContent = (wrong ? 'The server did not take the key that is kept here. ' : '') +
    'Enter the API key that its owner set. It is kept in this browser and sent to no other server.';
  key.value = '';
  dialog($('ask-key'), () => {
    keep(PREFIX + 'key', key.value.trim());
    if (then !== connect) connect();
    then();
  });
}

function openSettings() {
  const fields = $('settings').querySelector('form').elements;
  fields.system.value = settings.system ?? '';
  fields.thinking.checked = settings.thinking !== false;
  fields.key.value = store.getItem(PREFIX + 'key') ?? '';
  for (const name of NUMBERS) {
    fields[name].value = settings[name] ?? '';
    const usual = server.params?.[name];
    const told = Number.isFinite(usual) && usual >= 0 && usual < 4294967295;
    fields[name].placeholder = told ? `server: ${Number(usual.toPrecision(4))}` : 'server decides';
  }
  dialog($('settings'), () => {
    settings = { thinking: fields.thinking.checked };
    if (fields.system.value.trim()) settings.system = fields.system.value;
    for (const name of NUMBERS)
      if (fields[name].value !== '') settings[name] = fields[name].valueAsNumber;
    const key = fields.key.value.trim();
    if (key) keep(PREFIX + 'key', key);
    else store.removeItem(PREFIX + 'key');
    if (!keep(PREFIX + 'settings', JSON.stringify(settings)))
      toast('This browser’s storage is full: the settings last until the page is closed.');
    connect();
  });
}

function clearSettings() {
  const fields = $('settings').querySelector('form').elements;
  for (const name of [...NUMBERS, 'system']) fields[name].value = '';
  fields.thinking.checked = true;
}

const narrow = matchMedia('(max-width: 760px)');

function drawer(open) {
  const was = $('sidebar').classList.contains('open');
  open &&= narrow.matches;
  $('sidebar').classList.toggle('open', open);
  $('sidebar').inert = narrow.matches && !open;
  $('main').inert = open;
  $('backdrop').hidden = !open;
  $('menu').setAttribute('aria-expanded', open);
  if (open) $('close-menu').focus();
  else if (was) $('menu').focus();
}

// ---- Colours -------------------------------------------------------------------------------

const darkSystem = matchMedia('(prefers-color-scheme: dark)');
const page = document.documentElement;

function colours() {
  const chosen = store.getItem(PREFIX + 'colours');
  if (chosen === 'dark' || chosen === 'light') page.dataset.colours = chosen;
  else delete page.dataset.colours;
  return (page.dataset.colours ?? (darkSystem.matches ? 'dark' : 'light')) === 'dark';
}

function showColours() {
  $('colours').setAttribute('aria-pressed', colours());
}

function switchColours() {
  const dark = !colours();
  // Who comes back to the system's colours follows it again.
  if (dark === darkSystem.matches) store.removeItem(PREFIX + 'colours');
  else keep(PREFIX + 'colours', dark ? 'dark' : 'light');
  showColours();
}

colours();

// ---- The page ------------------------------------------------------------------------------

/** Enter sends, but not the Enter that picks a word of an input method. */
const isSend = event => event.key === 'Enter' && !event.shiftKey && !event.isComposing &&
  event.keyCode !== 229;

function fit() {
  const box = $('prompt');
  box.style.height = 'auto';
  box.style.height = `${box.scrollHeight}px`;
}

/** Another tab wrote: what it changed is taken over, unless it is being worked on here too. */
function changedElsewhere({ key, newValue }) {
  if (key === PREFIX + 'settings') settings = stored('settings', {});
  if (key === PREFIX + 'colours') showColours();
  if (!key?.startsWith(CHAT)) return;
  const id = key.slice(CHAT.length);
  if (jobs.has(chats.get(id)) || editing?.chat.id === id) return;
  if (newValue === null) {
    chats.delete(id);
    known.delete(id);
    if (current.id === id) {
      toast('This conversation was deleted in another tab.');
      go(emptyChat());
    }
  } else if (store.getItem(key) !== known.get(id)) {
    const chat = read(id);
    if (chat && current.id === id) {
      const stay = atEnd ? null : $('scroller').scrollTop;
      show(chat);
      if (stay !== null) $('scroller').scrollTop = stay;
    }
  }
  list();
}

document.addEventListener('DOMContentLoaded', () => {
  settings = stored('settings', {});
  const keys = lasting ? Object.keys(store) : [];
  for (const key of keys) if (key.startsWith(CHAT)) read(key.slice(CHAT.length));

  $('composer').addEventListener('submit', event => {
    event.preventDefault();
    ask();
  });
  $('prompt').addEventListener('input', fit);
  $('prompt').addEventListener('keydown', event => {
    if (!isSend(event)) return;
    event.preventDefault();
    ask();
  });
  const clicks = {
    stop: () => jobs.get(current)?.controller.abort(),
    retry,
    new: startNew,
    menu: () => drawer(true),
    'close-menu': () => drawer(false),
    backdrop: () => drawer(false),
    colours: switchColours,
    'open-settings': openSettings,
    'clear-settings': clearSettings,
    export: exportAll,
    import: () => $('file').click(),
    'to-end': () => { atEnd = true; toEnd(); $('prompt').focus(); },
    undo: () => { const undo = undoing; toast(''); undo?.(); $('prompt').focus(); },
    dismiss: () => { toast(''); $('prompt').focus(); },
    skip: event => { event.preventDefault(); $('prompt').focus(); },
  };
  // (A "Cancel" that submitted would be what Enter in a field presses: it comes first.)
  for (const cancel of document.querySelectorAll('.cancel'))
    cancel.addEventListener('click', () => cancel.closest('dialog').close());
  for (const [id, click] of Object.entries(clicks)) $(id).addEventListener('click', click);
  $('file').addEventListener('change', async () => {
    if ($('file').files[0]) await importFrom($('file').files[0]);
    $('file').value = '';
  });
  $('list').addEventListener('click', event => {
    if (event.target.closest('a')) drawer(false);
  });
  $('scroller').addEventListener('scroll', () => {
    const { scrollHeight, scrollTop, clientHeight } = $('scroller');
    atEnd = scrollHeight - scrollTop - clientHeight < 48;
    $('to-end').hidden = atEnd;
  });
  document.addEventListener('keydown', event => {
    if (event.key !== 'Escape' || event.isComposing) return;
    if (document.querySelector('dialog[open]')) return;
    if ($('sidebar').classList.contains('open')) drawer(false);
    else jobs.get(current)?.controller.abort();
  });
  // One listener is enough for "back" and for the list's links: both change the address.
  window.addEventListener('popstate', route);
  window.addEventListener('storage', changedElsewhere);
  window.addEventListener('pagehide', () => {
    for (const job of jobs.values()) if (job.message) save(job.chat);
  });
  narrow.addEventListener('change', () => drawer(false));
  darkSystem.addEventListener('change', showColours);

  showColours();
  drawer(false);
  banner();
  show(chats.get(location.hash.slice(1)) ?? current);
  $('prompt').focus();
  connect();
});
