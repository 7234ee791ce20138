/** A login below what browsers write: old HTTP, requests that do not wait for answers, and connections that break. */

import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, PHONE, PIN, serve } from '../support/host.js';
import { exchange } from '../support/raw.js';

expectNoUnhandledRejection();

function post(path: string, form: string, { cookie = '', version = '1.1', last = true } = {}): string {
  return [
    `POST ${path} HTTP/${version}`,
    'Host: 127.0.0.1',
    'Sec-Fetch-Site: same-origin',
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${form.length}`,
    ...(cookie === '' ? [] : [`Cookie: ${cookie}`]),
    ...(last ? ['Connection: close'] : []),
    '',
    form,
  ].join('\r\n');
}

async function site() {
  const client = fakeClient();
  const host = createHost(client);
  const port = Number(new URL(await serve(host)).port);
  const ask = (bytes: string) => exchange(port, Buffer.from(bytes));
  const issue = async (version?: string) => {
    const { headers, text } = await ask(
      post('/login', `phone=${encodeURIComponent(PHONE)}`, { ...(version && { version }) }),
    );
    return { text, cookie: headers.get('set-cookie')?.[0]?.split(';')[0] ?? '' };
  };
  return { client, host, port, ask, issue };
}

const statuses = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /gu)].map(([, status]) => status);

it('is the same over HTTP/1.0', async () => {
  const { ask, issue } = await site();
  const { text, cookie } = await issue('1.0');
  expect(statuses(text)).toEqual(['202']);
  expect(statuses((await ask(post('/login/pin', `pin=${PIN}`, { cookie, version: '1.0' }))).text)).toEqual([
    '200',
  ]);
});

it('is one login where the right PIN comes six times on one connection, without a wait for any answer', async () => {
  const { client, host, ask, issue } = await site();
  const { cookie } = await issue();
  const requests = Array.from({ length: 6 }, (_, index) =>
    post('/login/pin', `pin=${PIN}`, { cookie, last: index === 5 }),
  );
  const { text } = await ask(requests.join(''));
  expect(statuses(text).filter((status) => status === '200')).toHaveLength(1);
  expect(statuses(text).filter((status) => status === '401')).toHaveLength(5);
  expect(host.proofs).toHaveLength(1);
  expect(client.checks.length).toBeLessThanOrEqual(5);
});

it('goes on for others where connections break in the head, in the form and while the service is asked', async () => {
  const { client, host, port, issue } = await site();
  const { cookie } = await issue();
  const answer = client.onVerify;
  client.onVerify = async (...asked) => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return answer(...asked);
  };
  const whole = post('/login/pin', 'pin=000000', { cookie });
  for (const bytes of [whole.slice(0, 20), whole.slice(0, -4), whole]) {
    await new Promise<void>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => {
        socket.write(bytes, () => setTimeout(() => socket.destroy(), 20));
      });
      socket.once('close', () => resolve());
    });
  }
  await expect.poll(() => host.events.filter(({ type }) => type === 'pin.rejected').length).toBe(1);
  client.onVerify = answer;
  const browser = host.browser();
  await browser.issue('+385919876543');
  expect((await browser.check()).status).toBe(200);
});
