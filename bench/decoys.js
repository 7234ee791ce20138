/**
 * Whether time tells who can receive a PIN: issue, resend and a wrong PIN for numbers that can and numbers that cannot,
 * in random order, as an attacker beside the site would measure them. The Kolmogorov-Smirnov distance is the largest
 * difference of the two distributions: 0 when they are the same, 1 when one look at the clock is enough.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';

/** How many of each kind, and how many visitors at once, so that the whole takes a few minutes. */
const RUNS = [
  { serviceMs: 5, each: 2000, atOnce: 8 },
  { serviceMs: 300, each: 2000, atOnce: 60 },
  { serviceMs: 1500, each: 2000, atOnce: 200 },
];
const FIRSTS = 200;

async function start(file, ...args) {
  const child = fork(new URL(file, import.meta.url), args.map(String));
  const [{ port }] = await once(child, 'message');
  return { child, port };
}

function post(port, agent, path, body, cookie) {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
      'sec-fetch-site': 'same-origin',
      ...(cookie && { cookie }),
    };
    const started = performance.now();
    const sent = request({ port, agent, path, method: 'POST', headers }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('end', () => {
        const ms = performance.now() - started;
        const { code } = JSON.parse(Buffer.concat(chunks).toString());
        resolve({ ms, code, cookie: answer.headers['set-cookie']?.[0]?.split(';')[0] });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** The two-sample Kolmogorov-Smirnov distance. */
function distance(one, other) {
  const all = [
    ...one.map((value) => [value, 1 / one.length]),
    ...other.map((value) => [value, -1 / other.length]),
  ];
  let sum = 0;
  let largest = 0;
  for (const [, step] of all.toSorted(([a], [b]) => a - b)) {
    sum += step;
    largest = Math.max(largest, Math.abs(sum));
  }
  return largest;
}

function report(serviceMs, operation, times) {
  const { real, decoy } = times;
  // Two samples of the same distribution stay below this 95 times in 100.
  const chance = 1.358 * Math.sqrt(1 / real.length + 1 / decoy.length);
  const cells = [
    `${serviceMs} ms`.padStart(8),
    operation.padEnd(22),
    String(real.length).padStart(5),
    `${median(real).toFixed(1)} ms`.padStart(10),
    `${median(decoy).toFixed(1)} ms`.padStart(10),
    distance(real, decoy).toFixed(3),
    chance.toFixed(3),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

async function each(visitors, atOnce, visit) {
  const queue = visitors.values();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const visitor of queue) await visit(visitor);
    }),
  );
}

async function run({ serviceMs, each: count, atOnce }) {
  const service = await start('decoys-service.js', serviceMs);
  const site = await start('decoys-server.js', `http://127.0.0.1:${service.port}`);
  const agent = new Agent({ keepAlive: true });
  try {
    const kinds = ['issue', 'resend', 'check', 'first'];
    const times = Object.fromEntries(kinds.map((kind) => [kind, { real: [], decoy: [] }]));
    const phone = (index, isReal) =>
      `phone=%2B38591${String(2_000_000 + 2 * index + (isReal ? 0 : 1)).padStart(7, '0')}`;
    const ask = async (kind, isReal, path, body, cookie, expected) => {
      const answer = await post(site.port, agent, path, body, cookie);
      if (answer.code !== expected) throw new Error(`${path} answered ${answer.code}`);
      times[kind][isReal ? 'real' : 'decoy'].push(answer.ms);
      return answer;
    };

    // Each of these meets a strategy that knows nothing yet, one after the other.
    await each(
      Array.from({ length: 2 * FIRSTS }, (_, index) => index),
      FIRSTS / 2,
      (index) =>
        ask('first', index % 2 === 0, '/first', phone(index, index % 2 === 0), undefined, 'pin_sent'),
    );
    const visitors = Array.from({ length: 2 * count }, (_, index) => ({ index, isReal: index % 2 === 0 }));
    visitors.sort(() => Math.random() - 0.5);
    await each(visitors, atOnce, async ({ index, isReal }) => {
      const { cookie } = await ask('issue', isReal, '/issue', phone(index, isReal), undefined, 'pin_sent');
      await ask('resend', isReal, '/resend', '', cookie, 'pin_sent');
      await ask('check', isReal, '/check', 'pin=000000', cookie, 'pin_wrong');
    });
    report(serviceMs, 'issue', times.issue);
    report(serviceMs, 'resend', times.resend);
    report(serviceMs, 'check', times.check);
    report(serviceMs, 'first issue of a start', times.first);
  } finally {
    agent.destroy();
    site.child.kill();
    service.child.kill();
  }
}

export default async function bench() {
  console.log(
    '|  service | operation              |  each | median real | median decoy | KS distance | same 95 in 100 |',
  );
  console.log('| -------- | ---------------------- | ----- | ---------- | ---------- | ----- | ----- |');
  for (const settings of RUNS) await run(settings);
}
