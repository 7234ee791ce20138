// What the simulator's memory does over many sends, each to another number and each followed by a check:
//
//   node bench/simulator-memory.js [sends] [--http]
//
// Without --http the rules run in this process; with it, a simulator in a process of its own is asked over HTTP.

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Pool } from 'undici';
import { readBehaviour } from '../dist/simulator/behaviour.js';
import { Inbox } from '../dist/simulator/inbox.js';
import { startSimulator } from '../dist/simulator/index.js';
import { createRandom } from '../dist/simulator/random.js';
import { TwoFactorService } from '../dist/simulator/service.js';

const args = process.argv.slice(2);
const sends = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 1_000_000);
const steps = 10;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0).padStart(5)} MB`;

const application = {
  name: 'Bench',
  configuration: { sendPinPerApplicationLimit: '999999999/1d', verifyPinLimit: '1/3s' },
};
const template = { messageText: 'Your PIN is {{pin}}.', pinType: 'NUMERIC', pinLength: 6 };
const phone = (count) => `4179${String(count).padStart(8, '0')}`;

function report(done, { heapUsed, rss }, seconds, more = '') {
  const rate = Math.round(done / seconds);
  const count = String(done).padStart(8);
  process.stdout.write(
    `${count} sends and checks  heap ${megabytes(heapUsed)}  rss ${megabytes(rss)}  ${rate}/s${more}\n`,
  );
}

function runInProcess() {
  const behaviour = readBehaviour({});
  const inbox = new Inbox(10_000);
  const service = new TwoFactorService({
    now: Date.now,
    random: createRandom(undefined),
    behaviour: () => behaviour,
    deliver: (message) => inbox.deliver(message),
    maxPins: 100_000,
    emailTemplates: {},
  });
  service.applications.addSetUp({ applicationId: 'A', messageId: 'M' }, application, template);
  const start = performance.now();
  for (let done = 1; done <= sends; done++) {
    const { pinId } = service.sendPin('sms', { applicationId: 'A', messageId: 'M', to: phone(done) });
    const { verified } = service.verifyPin(pinId, { pin: inbox.messages.at(-1).pin });
    if (!verified) throw new Error('A right PIN was refused.');
    if (done % (sends / steps) !== 0) continue;
    const seconds = (performance.now() - start) / 1000;
    globalThis.gc?.();
    const { pins, windows } = service.held;
    report(
      done,
      process.memoryUsage(),
      seconds,
      `  ${inbox.messages.length} messages, ${pins} PINs, ${windows} windows held`,
    );
  }
}

async function runOverHttp() {
  const child = fork(new URL(import.meta.url), ['--serve'], { execArgv: ['--expose-gc'] });
  const [{ url, apiKey }] = await once(child, 'message');
  const pool = new Pool(url, { connections: 32 });
  const headers = { authorization: `App ${apiKey}`, 'content-type': 'application/json' };
  async function call(method, path, body) {
    const response = await pool.request({ method, path, headers, body: body && JSON.stringify(body) });
    const answer = await response.body.json();
    if (response.statusCode > 201)
      throw new Error(`${path} answered ${response.statusCode} ${JSON.stringify(answer)}`);
    return answer;
  }
  const { applicationId } = await call('POST', '/2fa/2/applications', application);
  const { messageId } = await call('POST', `/2fa/2/applications/${applicationId}/messages`, template);
  const start = performance.now();
  let done = 0;
  async function visitor(until) {
    while (done < until) {
      done += 1;
      const { pinId } = await call('POST', '/2fa/2/pin', { applicationId, messageId, to: phone(done) });
      await call('POST', `/2fa/2/pin/${pinId}/verify`, { pin: '0000000' });
    }
  }
  for (let step = 1; step <= steps; step++) {
    await Promise.all(Array.from({ length: 32 }, () => visitor((sends / steps) * step)));
    const seconds = (performance.now() - start) / 1000;
    child.send('memory');
    const [memory] = await once(child, 'message');
    const cpu = (memory.cpu.user + memory.cpu.system) / done / 2;
    report(done, memory, seconds, `  ${cpu.toFixed(0)} us of CPU per request`);
  }
  await pool.close();
  child.disconnect();
}

async function serve() {
  const { url, apiKey, close } = await startSimulator();
  process.send({ url, apiKey });
  process.on('message', () => {
    globalThis.gc?.();
    process.send({ ...process.memoryUsage(), cpu: process.cpuUsage() });
  });
  process.on('disconnect', close);
}

if (args.includes('--serve')) await serve();
else if (args.includes('--http')) await runOverHttp();
else runInProcess();
