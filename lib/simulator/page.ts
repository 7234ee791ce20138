/**
 * The phone: one page, its style and its script, without a build step. What a message holds reaches the page as text
 * nodes only, so that a template or a sender with markup in it shows as what it is.
 */

export const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Phone</title>
<link rel="icon" href="/_simulator/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/_simulator/phone.css">
<script src="/_simulator/phone.js" defer></script>
</head>
<body>
<svg hidden>
  <symbol id="icon-call" viewBox="0 0 24 24"><path d="M6.6 10.8a15 15 0 0 0 6.6 6.6l2.2-2.2a1 1 0 0 1 1-.25 11.4 11.4 0 0 0 3.6.57 1 1 0 0 1 1 1V20a1 1 0 0 1-1 1A17 17 0 0 1 3 4a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1c0 1.25.2 2.45.57 3.57a1 1 0 0 1-.25 1z"/></symbol>
  <symbol id="icon-mail" viewBox="0 0 24 24"><path d="M4 5h16a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm8 7.2L4.4 7.1 3.6 8.6 12 14.2l8.4-5.6-.8-1.5z"/></symbol>
</svg>
<main>
  <section class="about">
    <p class="claim">Somebody has to get all those PINs.</p>
    <p>This phone does. Every text, call and mail that your site sends through the simulator lands here, whatever the
    number. Nothing leaves this machine.</p>
    <p class="label" id="settings-label">Point your site here, with the other lines that the terminal shows</p>
    <pre class="settings" aria-labelledby="settings-label"><code>INFOBIP_BASE_URL=<span id="base-url"></span></code></pre>
  </section>
  <section class="phone" aria-label="Phone">
    <header>
      <div class="bar">
        <span id="clock"></span>
        <span class="island"></span>
        <span class="signal" aria-hidden="true"><i></i><i></i><i></i><i></i></span>
      </div>
      <div class="heading">
        <h1>Messages</h1>
        <p id="state" role="status">Connecting</p>
      </div>
      <div class="filter" id="filter" role="group" aria-label="Show messages to" hidden></div>
    </header>
    <div class="screen" id="screen" tabindex="0" role="log" aria-label="Messages, newest last">
      <div class="empty" id="empty">
        <svg viewBox="0 0 120 130" aria-hidden="true">
          <rect class="face-body" x="28" y="18" width="64" height="104" rx="14"/>
          <rect class="face-glass" x="34" y="28" width="52" height="84" rx="8"/>
          <path class="face-line" d="M44 62q5 5 10 0M66 62q5 5 10 0M53 84q7 5 14 0"/>
          <text class="zzz one" x="92" y="30">z</text><text class="zzz two" x="101" y="20">z</text><text class="zzz three" x="109" y="11">z</text>
        </svg>
        <h2>Sound asleep</h2>
        <p>Ask your site for a PIN, to any number you like. This wakes up when it arrives.</p>
      </div>
      <ol id="messages"></ol>
    </div>
    <button type="button" class="jump" id="jump" hidden></button>
    <div class="home" aria-hidden="true"></div>
  </section>
</main>
</body>
</html>
`;

export const css = `:root {
  color-scheme: light dark;
  --ground: #efece6; --ground-glow: #fbf9f5; --ink: #1d1c1a; --soft: #625e57; --line: #e4e0d8;
  --case: #23222a; --glass: #fdfcfa; --bubble: #efede8; --accent: #3d52d5; --accent-ink: #ffffff; --tint: #e6e9fd;
  --call: #127a4b; --call-tint: #e2f4ea; --mail: #a3520b; --mail-tint: #fcefdf; --mark: #ffe38a; --mark-ink: #3a2e00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #121216; --ground-glow: #1d1d24; --ink: #f0eee9; --soft: #a8a49c; --line: #303038;
    --case: #3a3944; --glass: #18181d; --bubble: #26262d; --accent: #97a6ff; --accent-ink: #12142b; --tint: #272b4a;
    --call: #6fd3a0; --call-tint: #1b3327; --mail: #f0ad6b; --mail-tint: #392a1a; --mark: #5b4a11; --mark-ink: #ffe9a6;
  }
}
* { box-sizing: border-box; margin: 0; }
[hidden] { display: none !important; }
html, body { height: 100%; overflow-x: clip; }
body {
  color: var(--ink); background: radial-gradient(circle at 70% 30%, var(--ground-glow), var(--ground) 70%) fixed;
  font: 400 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  -webkit-font-smoothing: antialiased;
}
main { height: 100%; display: grid; }
.about { display: none; }
.phone { position: relative; display: flex; flex-direction: column; min-width: 0; min-height: 0; height: 100dvh; background: var(--glass); overflow: hidden; }
.bar, .home { display: none; }
.heading { display: flex; align-items: baseline; justify-content: space-between; gap: 1rem; padding: 1.1rem 1.25rem .75rem; }
h1 { font-size: 1.5rem; line-height: 1.2; letter-spacing: -.02em; font-weight: 700; }
#state { font-size: .8125rem; color: var(--soft); text-align: right; }
#state::before { content: ""; display: inline-block; width: .5rem; height: .5rem; margin-right: .4rem; border-radius: 50%; background: var(--soft); vertical-align: .03em; }
#state.live::before { background: var(--call); }
header { border-bottom: 1px solid var(--line); }
.filter { display: flex; gap: .5rem; padding: 0 1.25rem .85rem; overflow-x: auto; scrollbar-width: none; }
.filter button { flex: none; padding: .3rem .8rem; border: 1px solid var(--line); border-radius: 2rem; background: none; color: var(--soft); font: inherit; font-size: .8125rem; font-variant-numeric: tabular-nums; cursor: pointer; }
.filter button[aria-pressed="true"] { background: var(--tint); border-color: transparent; color: var(--accent); font-weight: 600; }
.screen { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; padding: 1.25rem; display: flex; flex-direction: column; }
.screen:focus-visible { outline-offset: -3px; }
ol { list-style: none; padding: 0; margin-top: auto; display: grid; gap: 1.5rem; }
li { display: grid; grid-template-columns: 2.25rem minmax(0, 1fr); gap: .3rem .7rem; }
.avatar { grid-row: 1 / span 2; align-self: start; display: grid; place-items: center; width: 2.25rem; height: 2.25rem; border-radius: 50%; background: hsl(var(--hue) 45% 42%); color: #fff; font-size: .8125rem; font-weight: 700; }
.avatar svg { width: 1.15rem; height: 1.15rem; fill: currentColor; }
.call .avatar { background: var(--call-tint); color: var(--call); }
.mail .avatar { background: var(--mail-tint); color: var(--mail); }
.who { display: flex; align-items: baseline; gap: .75rem; font-size: .8125rem; color: var(--soft); }
.who b { color: var(--ink); font-weight: 600; overflow-wrap: anywhere; }
.who time { margin-left: auto; flex: none; font-variant-numeric: tabular-nums; }
.card { justify-self: start; min-width: min(14rem, 100%); max-width: 100%; border-radius: .3rem 1.15rem 1.15rem 1.15rem; background: var(--bubble); overflow: hidden; }
.text { padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.call .card, .mail .card { justify-self: stretch; border-radius: 1rem; background: none; border: 1px solid var(--line); }
.title { display: flex; align-items: center; gap: .5rem; padding: .65rem 1rem; font-size: .875rem; font-weight: 600; }
.call .title { background: var(--call-tint); color: var(--call); }
.mail .title { background: var(--mail-tint); color: var(--mail); }
.title button { margin-left: auto; } .title small { font-weight: 400; font-size: .8125rem; overflow-wrap: anywhere; }
.call .text { font-style: italic; }
.call .text::before { content: "\\201c"; } .call .text::after { content: "\\201d"; }
mark { background: var(--mark); color: var(--mark-ink); border-radius: .3rem; padding: .05em .2em; font-weight: 600; font-style: normal; }
.pin { display: flex; align-items: center; gap: .75rem; padding: .5rem .5rem .5rem 1rem; border-top: 1px solid var(--line); }
.pin code { flex: 1; min-width: 0; font: 600 1.25rem/1.2 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; letter-spacing: .12em; overflow-wrap: anywhere; }
.pin button, .title button { flex: none; min-height: 2.25rem; padding: .35rem .9rem; border: 0; border-radius: .7rem; background: var(--accent); color: var(--accent-ink); font: inherit; font-size: .875rem; font-weight: 600; cursor: pointer; }
.title button { min-height: 1.9rem; background: none; box-shadow: inset 0 0 0 1.5px currentColor; color: inherit; }
.note { grid-column: 2; font-size: .75rem; color: var(--soft); font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.jump { position: absolute; left: 50%; bottom: 1.5rem; transform: translateX(-50%); padding: .5rem 1.1rem; border: 0; border-radius: 2rem; background: var(--accent); color: var(--accent-ink); font: inherit; font-size: .875rem; font-weight: 600; box-shadow: 0 .5rem 1.5rem #0004; cursor: pointer; }
.empty { margin: auto; max-width: 18rem; padding: 1rem 0 2rem; text-align: center; color: var(--soft); text-wrap: balance; }
.empty svg { width: 8.5rem; overflow: visible; }
.empty h2 { margin: .75rem 0 .35rem; font-size: 1.1875rem; color: var(--ink); letter-spacing: -.01em; }
.face-body { fill: var(--case); } .face-glass { fill: var(--tint); }
.face-line { fill: none; stroke: var(--accent); stroke-width: 3; stroke-linecap: round; }
.zzz { font: italic 700 13px Georgia, "DejaVu Serif", serif; fill: var(--accent); }
.two { font-size: 16px; } .three { font-size: 19px; }
@media (prefers-reduced-motion: no-preference) {
  .zzz { animation: doze 3.6s ease-in-out infinite; } .two { animation-delay: .5s; } .three { animation-delay: 1s; }
  .fresh { animation: arrive .35s cubic-bezier(.2, .9, .3, 1.3) backwards; }
}
@keyframes doze { 0%, 100% { opacity: .15; transform: translateY(3px); } 50% { opacity: 1; transform: none; } }
@keyframes arrive { from { opacity: 0; transform: translateY(.8rem) scale(.96); } }
@media (min-width: 900px) and (min-height: 560px) {
  main { grid-template-columns: minmax(0, 26rem) 25rem; justify-content: center; align-items: center; gap: clamp(3rem, 8vw, 7rem); padding: 1.5rem; }
  .about { display: block; }
  .about p { margin-top: 1.25rem; color: var(--soft); font-size: 1.0625rem; }
  .about .claim { margin: 0; color: var(--ink); font-size: 2.75rem; font-weight: 700; line-height: 1.08; letter-spacing: -.035em; text-wrap: balance; }
  .about .label { margin-top: 2.25rem; font-size: .875rem; font-weight: 600; color: var(--ink); }
  .settings { margin-top: .5rem; padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: .8rem; background: var(--glass); font: .9375rem/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
  .phone { height: min(50rem, calc(100dvh - 3rem)); border: .7rem solid var(--case); border-radius: 3.4rem; box-shadow: 0 2.5rem 5rem -1.5rem #0006, 0 0 0 1px #0003; }
  .bar { display: grid; grid-template-columns: 1fr auto 1fr; align-items: center; padding: .8rem 1.9rem 0; font-size: .875rem; font-weight: 600; font-variant-numeric: tabular-nums; }
  .island { width: 6rem; height: 1.6rem; border-radius: 1rem; background: var(--case); }
  .signal { justify-self: end; display: flex; align-items: flex-end; gap: 2px; height: .75rem; }
  .signal i { width: 3px; border-radius: 1px; background: currentColor; height: 35%; }
  .signal i:nth-child(2) { height: 55%; } .signal i:nth-child(3) { height: 78%; } .signal i:nth-child(4) { height: 100%; }
  .home { display: block; flex: none; width: 8rem; height: .3rem; margin: .55rem auto .6rem; border-radius: 1rem; background: var(--line); }
  .jump { bottom: 2.25rem; }
}
`;

export const js = `'use strict';
(() => {
  const kept = 200;
  const byId = (id) => document.getElementById(id);
  const list = byId('messages'), screen = byId('screen'), state = byId('state'), filter = byId('filter'), jump = byId('jump');
  const recipients = new Map();
  let shown = null;
  let unseen = 0;
  let unread = 0;
  let queue = [];

  byId('base-url').textContent = location.origin;

  function element(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function icon(name) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
    svg.setAttribute('aria-hidden', 'true');
    use.setAttribute('href', '#icon-' + name);
    svg.append(use);
    return svg;
  }

  function button(text, label, onClick) {
    const node = element('button', '', text);
    node.type = 'button';
    if (label) node.setAttribute('aria-label', label);
    node.addEventListener('click', onClick);
    return node;
  }

  const asNumber = (to) => (to.includes('@') ? to : '+' + to);

  function withPin(text, pin) {
    const node = element('p', 'text');
    text.split(pin).forEach((piece, index) => {
      if (index > 0) node.append(element('mark', '', pin));
      node.append(piece);
    });
    return node;
  }

  async function copy(event, pin) {
    const pressed = event.currentTarget;
    try {
      await navigator.clipboard.writeText(pin);
      pressed.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(pressed.previousElementSibling);
      pressed.textContent = 'Selected';
    }
    setTimeout(() => { pressed.textContent = 'Copy'; }, 1600);
  }

  function speak(message) {
    const utterance = new SpeechSynthesisUtterance(message.text.split(message.pin).join([...message.pin].join(' ')));
    utterance.lang = (message.language || 'en').replace('_', '-');
    speechSynthesis.cancel();
    speechSynthesis.speak(utterance);
  }

  function avatar(message, kind) {
    const node = element('span', 'avatar');
    node.setAttribute('aria-hidden', 'true');
    if (kind !== 'sms') {
      node.append(icon(kind));
      return node;
    }
    node.textContent = (message.from.match(/[\\p{L}\\p{N}]/u) || ['?'])[0].toUpperCase();
    let hue = 0;
    for (const character of message.from) hue = (hue * 31 + character.codePointAt(0)) % 360;
    node.style.setProperty('--hue', hue);
    return node;
  }

  function title(message, kind) {
    const [, address] = /<([^<>]+)>$/.exec(message.from) || [];
    const node = element('p', 'title', kind === 'call' ? 'Call' : 'Mail');
    if (kind === 'mail' && address) node.append(element('small', '', address));
    if (kind === 'call' && 'speechSynthesis' in window) node.append(button('Listen', 'Listen to the call', () => speak(message)));
    return node;
  }

  function note(message) {
    const notes = ['to ' + asNumber(message.to)];
    if (message.resend) notes.push('sent again');
    if (message.parts > 1) notes.push(message.parts + ' parts, ' + message.encoding);
    else if (message.encoding === 'Unicode') notes.push('Unicode');
    return notes.join(' \\u00b7 ');
  }

  function render(message) {
    const kind = { sms: 'sms', voice: 'call', email: 'mail' }[message.channel];
    const item = element('li', kind);
    item.dataset.to = message.to;
    const who = element('p', 'who');
    const time = element('time', '', new Date(message.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    time.dateTime = new Date(message.at).toISOString();
    time.title = new Date(message.at).toLocaleString();
    who.append(element('b', '', kind === 'mail' ? message.from.replace(/\\s*<[^<>]+>$/, '') || message.from : message.from), time);
    const card = element('div', 'card');
    if (kind !== 'sms') card.append(title(message, kind));
    const pin = element('div', 'pin');
    pin.append(element('code', '', message.pin), button('Copy', 'Copy the PIN', (event) => copy(event, message.pin)));
    card.append(withPin(message.text, message.pin), pin);
    item.append(avatar(message, kind), who, card, element('p', 'note', note(message)));
    item.hidden = shown !== null && shown !== message.to;
    return item;
  }

  function drawFilter() {
    filter.hidden = recipients.size < 2;
    const choice = (to, text) => {
      const node = button(text, '', () => { shown = to; applyFilter(); });
      node.setAttribute('aria-pressed', String(shown === to));
      return node;
    };
    const focused = [...filter.children].indexOf(document.activeElement);
    filter.replaceChildren(choice(null, 'All'), ...[...recipients.keys()].reverse().map((to) => choice(to, asNumber(to))));
    if (focused >= 0) filter.children[focused]?.focus();
  }

  function applyFilter() {
    if (!recipients.has(shown)) shown = null;
    for (const item of list.children) item.hidden = shown !== null && item.dataset.to !== shown;
    drawFilter();
    toEnd();
  }

  function toEnd() {
    screen.scrollTop = screen.scrollHeight;
    unseen = 0;
    jump.hidden = true;
  }

  const atEnd = () => screen.scrollHeight - screen.scrollTop - screen.clientHeight < 80;

  function draw() {
    const messages = queue.slice(-kept);
    queue = [];
    const follow = atEnd();
    const known = recipients.size;
    const items = messages.map(render);
    for (const item of items) {
      item.classList.add('fresh');
      recipients.set(item.dataset.to, (recipients.get(item.dataset.to) || 0) + 1);
    }
    list.append(...items);
    while (list.children.length > kept) {
      const { to } = list.firstElementChild.dataset;
      recipients.set(to, recipients.get(to) - 1);
      if (recipients.get(to) === 0) recipients.delete(to);
      list.firstElementChild.remove();
    }
    byId('empty').hidden = list.children.length > 0;
    if (recipients.size !== known) drawFilter();
    announce(items.filter((item) => !item.hidden).length, follow);
  }

  function announce(count, follow) {
    if (count === 0) return;
    if (follow) toEnd();
    else {
      unseen += count;
      jump.textContent = unseen === 1 ? '1 new message' : unseen + ' new messages';
      jump.hidden = false;
    }
    if (document.hidden) unread += count;
    document.title = unread > 0 ? '(' + unread + ') Phone' : 'Phone';
  }

  function arrive({ data }) {
    if (queue.length === 0) setTimeout(draw, 16);
    queue.push(JSON.parse(data));
    if (queue.length > 2 * kept) queue = queue.slice(-kept);
  }

  function empty() {
    queue = [];
    recipients.clear();
    list.replaceChildren();
    byId('empty').hidden = false;
    applyFilter();
  }

  function connect() {
    const stream = new EventSource('/_simulator/stream?last=' + kept);
    stream.addEventListener('message', arrive);
    stream.addEventListener('reset', empty);
    stream.addEventListener('open', () => { state.textContent = 'Live'; state.classList.add('live'); });
    stream.addEventListener('error', () => {
      state.textContent = 'Waiting for the simulator';
      state.classList.remove('live');
      if (stream.readyState !== EventSource.CLOSED) return;
      setTimeout(() => { empty(); connect(); }, 2000);
    });
  }

  function tick() {
    byId('clock').textContent = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  }

  jump.addEventListener('click', toEnd);
  screen.addEventListener('scroll', () => { if (unseen > 0 && atEnd()) toEnd(); }, { passive: true });
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    unread = 0;
    document.title = 'Phone';
  });
  setInterval(tick, 10000);
  tick();
  connect();
})();
`;

export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="7" y="1" width="18" height="30" rx="5" fill="#3d52d5"/><rect x="9.5" y="5" width="13" height="21" rx="2.5" fill="#fff"/><path d="M13 12.5v1.5M19 12.5v1.5M12.5 18.5q3.5 3.5 7 0" fill="none" stroke="#3d52d5" stroke-width="2" stroke-linecap="round"/></svg>
`;
