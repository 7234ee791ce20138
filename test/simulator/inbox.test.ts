import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../lib/simulator/index.js';
import { send } from '../support/bare-http.js';
import { browserPath, launchBrowser } from '../support/browser.js';

const phone = '385911234567';
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let simulator: Simulator;

beforeEach(async () => {
  simulator = await startSimulator({ seed: 'inbox' });
});

afterEach(() => simulator.close());

async function call(method: string, path: string, body: object): Promise<Record<string, string>> {
  const headers = { Authorization: `App ${simulator.apiKey}` };
  const { status, text } = await send(simulator.url, { method, path, headers, body });
  expect([path, status]).toEqual([path, 200]);
  return JSON.parse(text);
}

const sms = (to = phone, more: object = {}) =>
  call('POST', '/2fa/2/pin', {
    applicationId: simulator.applicationId,
    messageId: simulator.messageId,
    to,
    ...more,
  });

const templates = (kind = 'messages') => `/2fa/2/applications/${simulator.applicationId}/${kind}`;

/** Reads a stream of server-sent events until `count` of them are there. */
class Stream {
  readonly events: { event: string; id: string | undefined; data: unknown }[] = [];
  headers: Record<string, unknown> = {};
  ended = false;
  private text = '';
  private readonly outgoing;

  constructor(base: string, path: string, headers: Record<string, string> = {}) {
    this.outgoing = request(`${base}${path}`, { agent: false, headers });
    this.outgoing.on('error', () => {
      this.ended = true;
    });
    this.outgoing.on('response', (incoming) => {
      this.headers = incoming.headers;
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => this.read(chunk));
      incoming.on('error', () => {});
      incoming.on('close', () => {
        this.ended = true;
      });
    });
    this.outgoing.end();
  }

  private read(chunk: string): void {
    this.text += chunk;
    const blocks = this.text.split('\n\n');
    this.text = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split('\n').map((line) => [line.split(': ', 1)[0], line.replace(/^\w*: /, '')]),
      );
      if (fields.data === undefined) continue;
      this.events.push({ event: fields.event ?? 'message', id: fields.id, data: JSON.parse(fields.data) });
    }
  }

  async until(done: () => boolean): Promise<void> {
    const end = Date.now() + 10_000;
    while (!done()) {
      if (Date.now() > end) throw new Error(`the stream only held ${JSON.stringify(this.events)}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Resolves once the server has answered, so that what is sent from here on is live. */
  async opened(): Promise<this> {
    await this.until(() => 'content-type' in this.headers);
    return this;
  }

  close(): void {
    this.outgoing.destroy();
  }
}

describe('the stream', () => {
  it('tells each message as it arrives, and when all are gone', async () => {
    await sms();
    const stream = await new Stream(simulator.url, '/_simulator/stream').opened();
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
    });
    await sms();
    await sms('41793026727');
    simulator.reset();
    await stream.until(() => stream.events.length >= 3);
    expect(stream.events.map(({ event }) => event)).toEqual(['message', 'message', 'reset']);
    expect(stream.events[1]?.data).toMatchObject({
      id: 3,
      to: '41793026727',
      text: expect.stringContaining('PIN'),
    });
    stream.close();
  });

  it('begins with the newest messages when asked for some', async () => {
    for (let count = 0; count < 5; count++) await sms();
    const stream = await new Stream(simulator.url, '/_simulator/stream?last=2').opened();
    await sms();
    await stream.until(() => stream.events.length >= 3);
    expect(stream.events.map(({ data }) => data)).toEqual(
      JSON.parse(JSON.stringify(simulator.messages.slice(-3))),
    );
    const many = new Stream(simulator.url, '/_simulator/stream?last=100');
    await many.until(() => many.events.length >= 6);
    stream.close();
    many.close();
  });

  it('gives a page that comes back what it missed, and no more', async () => {
    await sms();
    const first = await new Stream(simulator.url, '/_simulator/stream?last=10').opened();
    await first.until(() => first.events.length === 1);
    first.close();
    await sms();
    await sms();
    const again = { 'Last-Event-ID': first.events[0]?.id ?? '' };
    const second = new Stream(simulator.url, '/_simulator/stream?last=10', again);
    await second.until(() => second.events.length >= 2);
    expect(second.events.map(({ data }) => data)).toEqual(
      JSON.parse(JSON.stringify(simulator.messages.slice(1))),
    );
    second.close();
  });

  it('tells a page of another simulator on the same port to forget what it shows', async () => {
    const stream = await new Stream(simulator.url, '/_simulator/stream?last=10').opened();
    await sms();
    await stream.until(() => stream.events.length === 1);
    const id = stream.events[0]?.id ?? '';
    stream.close();
    await simulator.close();
    simulator = await startSimulator({ seed: 'inbox' });
    await sms();
    const again = new Stream(simulator.url, '/_simulator/stream?last=10', { 'Last-Event-ID': id });
    await again.until(() => again.events.length >= 2);
    expect(again.events.map(({ event }) => event)).toEqual(['reset', 'message']);
    again.close();
  });

  it('ends at once when the simulator closes', async () => {
    const stream = await new Stream(simulator.url, '/_simulator/stream').opened();
    await simulator.close();
    await stream.until(() => stream.ended);
    expect(stream.ended).toBe(true);
  });

  it('lets go of a reader that does not read', async () => {
    const lazy = await new Promise<{ destroyed: boolean; resume: () => void }>((resolve) => {
      request(`${simulator.url}/_simulator/stream`, { agent: false }, resolve).end();
    });
    const placeholders = { text: 'x'.repeat(200_000) };
    await call('PUT', `${templates()}/${simulator.messageId}`, { messageText: '{{pin}} {{text}}' });
    const application = `/2fa/2/applications/${simulator.applicationId}`;
    await call('PUT', application, { name: 'x', configuration: { sendPinPerPhoneNumberLimit: '1000/1d' } });
    const watched = await new Stream(simulator.url, '/_simulator/stream').opened();
    for (let count = 0; count < 60; count++) await sms(phone, { placeholders });
    await watched.until(() => watched.events.length === 60);
    lazy.resume();
    await watched.until(() => lazy.destroyed);
    watched.close();
  });
});

describe('the page', () => {
  const get = (path: string) => send(simulator.url, { method: 'GET', path });

  it('runs no script and no style but its own, from nowhere else', async () => {
    const { status, headers, text } = await get('/');
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-resource-policy': 'same-origin',
    });
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|\*|data:/);
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?:/);
    for (const [, path = ''] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g))
      expect((await get(path)).status).toBe(200);
    expect((await get('/_simulator/phone.js')).headers['content-type']).toBe(
      'text/javascript; charset=utf-8',
    );
    expect((await get('/_simulator/phone.css')).headers['content-type']).toBe('text/css; charset=utf-8');
  });
});

// npm test runs on machines without a browser too; the project's own checks install one and allow no skip.
describe.skipIf(browserPath === undefined)('the page in a browser', () => {
  let browser: Browser;
  let page: Page;
  let problems: string[];

  beforeAll(async () => {
    browser = await launchBrowser();
  });

  afterAll(() => browser.close());

  beforeEach(async () => {
    page = await browser.newPage({ viewport: { width: 360, height: 740 } });
    problems = [];
    page.on('console', (message) => problems.push(message.text()));
    page.on('pageerror', (error) => problems.push(error.message));
    await page.goto(`${simulator.url}/`);
    await page.getByText('Live').waitFor();
  });

  afterEach(async () => {
    await page.close();
    expect(problems).toEqual([]);
  });

  const shown = () => page.locator('#messages > li:visible');

  it('sleeps until a message arrives, shows it live with its PIN, and copies the PIN', async () => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: simulator.url });
    await page.getByText('Sound asleep').waitFor();
    await sms();
    const bubble = shown().first();
    await bubble.waitFor();
    const { pin, text } = simulator.messages[0] ?? { pin: '', text: '' };
    expect(await bubble.locator('.text').textContent()).toBe(text);
    expect(await bubble.locator('mark').allTextContents()).toEqual([pin]);
    expect(await bubble.textContent()).toContain(`+${phone}`);
    expect(await page.getByText('Sound asleep').isVisible()).toBe(false);
    await bubble.getByRole('button', { name: 'Copy the PIN' }).click();
    await bubble.getByText('Copied').waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(pin);
    simulator.reset();
    await page.getByText('Sound asleep').waitFor();
  });

  it('shows calls and mails as such', async () => {
    const { messageId } = await call('POST', templates('email/messages'), {
      emailTemplateId: 1,
      from: 'Ana <ana@example.com>',
    });
    await call('POST', '/2fa/2/pin/voice', {
      applicationId: simulator.applicationId,
      messageId: simulator.messageId,
      to: phone,
    });
    const body = { applicationId: simulator.applicationId, messageId, to: 'bob@example.com' };
    await call('POST', '/2fa/2/pin/email', body);
    await shown().nth(1).waitFor();
    expect(await page.locator('li.call .title').textContent()).toContain('Call');
    expect(await page.locator('li.mail').textContent()).toMatch(
      /Ana.*Mail.*ana@example\.com.*to bob@example\.com/s,
    );
  });

  it('shows one number alone when it is chosen', async () => {
    await sms();
    await sms('41793026727');
    await shown().nth(1).waitFor();
    await page.getByRole('button', { name: '+41793026727' }).click();
    expect(await shown().count()).toBe(1);
    await sms();
    await sms('41793026727');
    await shown().nth(1).waitFor();
    expect(await shown().locator('.note').allTextContents()).toEqual(['to +41793026727', 'to +41793026727']);
    await page.getByRole('button', { name: 'All' }).click();
    expect(await shown().count()).toBe(4);
  });

  it('shows markup in a text, a sender or a placeholder as what it is', async () => {
    const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
    await call('PUT', `${templates()}/${simulator.messageId}`, { messageText: `${markup} {{pin}} {{name}}` });
    await sms(phone, { from: `<script>document.title=2</script>`, placeholders: { name: markup } });
    await shown().first().waitFor();
    expect(await shown().locator('.text').textContent()).toBe(simulator.messages[0]?.text);
    expect(
      await page.locator('#messages img, #messages b b, #messages script, #messages .text b').count(),
    ).toBe(0);
    expect(await page.title()).toBe('Phone');
  });

  it('takes up with another simulator on the same port', async () => {
    await sms();
    await shown().first().waitFor();
    const { port } = new URL(simulator.url);
    await simulator.close();
    await page.getByText('Waiting for the simulator').waitFor();
    simulator = await startSimulator({ seed: 'again', port: Number(port) });
    await page.getByText('Live').waitFor();
    await page.getByText('Sound asleep').waitFor();
    await sms('41793026727');
    await page.getByText('to +41793026727').waitFor();
    expect(await shown().count()).toBe(1);
    // The refused connections in between.
    problems = problems.filter((problem) => !/ERR_/.test(problem));
  });

  it.each([
    [360, 740, 'light'],
    [360, 740, 'dark'],
    [1280, 800, 'light'],
    [1280, 800, 'dark'],
  ] as const)('fits %i x %i in %s', async (width, height, colorScheme) => {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    await sms(phone, { from: 'A sender with a very long name without end', placeholders: {} });
    await shown().first().waitFor();
    const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
    expect(overflow).toBe(0);
    const box = await page.getByRole('button', { name: 'Copy the PIN' }).boundingBox();
    expect((box?.x ?? width) + (box?.width ?? 0)).toBeLessThanOrEqual(width);
    expect(box?.height).toBeGreaterThanOrEqual(32);
  });

  it.each(['light', 'dark'] as const)('leaves nobody out, asleep and awake, in %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.evaluate(axe);
    const violations = () =>
      page.evaluate<string[]>('axe.run().then(({ violations }) => violations.map(({ id }) => id))');
    expect(await violations()).toEqual([]);
    const { messageId } = await call('POST', templates('email/messages'), {
      emailTemplateId: 1,
      from: 'Ana <ana@example.com>',
    });
    await sms();
    await call('POST', '/2fa/2/pin/voice', {
      applicationId: simulator.applicationId,
      messageId: simulator.messageId,
      to: phone,
    });
    await call('POST', '/2fa/2/pin/email', {
      applicationId: simulator.applicationId,
      messageId,
      to: 'bob@example.com',
    });
    await shown().nth(2).waitFor();
    for (const width of [360, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      expect(await violations()).toEqual([]);
    }
  });
});
