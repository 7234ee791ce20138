/**
 * CPU time of this process per call: Infobip2faClient against a bare request of undici's pool that parses the answer and
 * does nothing else. Turn by turn in one go, at concurrency 1 and 64; the service is a process of its own.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { Pool } from 'undici';

const ROUNDS = 15;
const CALLS = 3000;

const service = new URL('client-service.js', import.meta.url);

async function perCall(call, concurrency) {
  let left = CALLS;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: concurrency }, worker));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

export default async function bench() {
  const child = fork(service);
  const [{ url }] = await once(child, 'message');
  const client = new Infobip2faClient({ baseUrl: url, apiKey: 'bench' });
  const pool = new Pool(url, { connections: null });
  const headers = {
    authorization: 'App bench',
    accept: 'application/json',
    'content-type': 'application/json',
  };
  const contenders = {
    client: () => client.verifyPin('0123456789ABCDEF', '123456'),
    'bare pool': async () => {
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: '/2fa/2/pin/0123456789ABCDEF/verify',
        headers,
        body: JSON.stringify({ pin: '123456' }),
      });
      const answer = await body.json();
      if (statusCode !== 200 || answer.verified !== true) throw new Error('The service did not say yes.');
    },
  };
  try {
    for (const concurrency of [1, 64]) {
      const figures = { client: [], 'bare pool': [] };
      for (let turn = -2; turn < ROUNDS; turn += 1) {
        const names = turn % 2 ? ['client', 'bare pool'] : ['bare pool', 'client'];
        for (const name of names) {
          const figure = await perCall(contenders[name], concurrency);
          // The first two rounds warm up.
          if (turn >= 0) figures[name].push(figure);
        }
      }
      const ratios = figures.client.map((figure, index) => figure / figures['bare pool'][index]);
      console.log(
        `concurrency ${concurrency}: client ${median(figures.client).toFixed(0)} us, bare pool ` +
          `${median(figures['bare pool']).toFixed(0)} us of CPU per call; ratio ${median(ratios).toFixed(2)} ` +
          `(${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}) over ${ROUNDS} rounds of ${CALLS}`,
      );
    }
  } finally {
    await client.close();
    await pool.close();
    child.kill();
  }
}
