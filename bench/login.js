/**
 * CPU time of the site per login (issue and check, two requests), ours against a strategy written by hand without any
 * guard, and against the same with the guards that tutorials name. All run in one go, turn by turn, each in a process
 * of its own: the ratio holds where the machine is noisy.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';

const ROUNDS = 9;
const LOGINS = 600;
const AT_ONCE = 8;

async function start(contender) {
  const child = fork(new URL('login-server.js', import.meta.url), [contender]);
  const [{ port }] = await once(child, 'message');
  const cpu = async (message) => {
    child.send(message);
    const [{ cpuMicroseconds }] = await once(child, 'message');
    return cpuMicroseconds;
  };
  return {
    contender,
    child,
    port,
    cpu,
    agent: new Agent({ keepAlive: true, maxSockets: AT_ONCE }),
    perLogin: [],
  };
}

function post({ port, agent }, path, body, cookie) {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
      'sec-fetch-site': 'same-origin',
      ...(cookie && { cookie }),
    };
    const sent = request({ port, agent, path, method: 'POST', headers }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

let next = 0;
async function login(site) {
  next += 1;
  const phone = `+38591${String(next).padStart(7, '0')}`;
  const issued = await post(site, '/login', `phone=${encodeURIComponent(phone)}`);
  const cookie = issued.headers['set-cookie']?.[0]?.split(';')[0];
  const checked = await post(site, '/login/pin', 'pin=123456', cookie);
  if (issued.statusCode !== 303 || checked.headers.location !== '/') {
    throw new Error(`${site.contender}: a login failed with ${issued.statusCode} and ${checked.statusCode}`);
  }
}

async function round(site) {
  await site.cpu('start');
  let left = LOGINS;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      await login(site);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return (await site.cpu('stop')) / LOGINS;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

export default async function bench() {
  const sites = [await start('ours'), await start('by tutorial'), await start('by hand')];
  try {
    for (const site of sites) await round(site);
    for (let turn = 0; turn < ROUNDS; turn += 1) {
      for (const site of turn % 2 ? sites : sites.toReversed()) site.perLogin.push(await round(site));
    }
    for (const { contender, perLogin } of sites) {
      console.log(`${contender.padEnd(12)} ${median(perLogin).toFixed(0)} us of CPU per login`);
    }
    const [ours, ...others] = sites;
    for (const { contender, perLogin } of others) {
      const ratios = ours.perLogin.map((value, index) => value / perLogin[index]);
      const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
      console.log(
        `ours / ${contender}: ${median(ratios).toFixed(2)} (${least} to ${most}) over ${ROUNDS} rounds of ${LOGINS} logins`,
      );
    }
  } finally {
    for (const { child, agent } of sites) {
      agent.destroy();
      child.kill();
    }
  }
}
