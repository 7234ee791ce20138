/** A site whose visitors ask for PINs, each in a word. */

import { afterEach, beforeEach, vi } from 'vitest';
import {
  type Browser,
  createHost,
  type FakeClient,
  fakeClient,
  type Host,
  type HostOptions,
  type LooseOptions,
  PHONE,
  PIN,
  serve,
} from './host.js';

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** The clock stands still at a full hour, until a test moves it. */
export function stopTheClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-03-02T10:00:00Z') });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

export const pass = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds);

/** Different numbers, all of Croatian mobiles. */
export const number = (index: number) => `+38591${String(1_000_000 + index)}`;

export interface Site {
  client: FakeClient;
  host: Host;
  url: string;
  /** Asks for a PIN from a browser of its own; what came of it, in a word. */
  ask: (phone?: string, options?: { ip?: string; browser?: Browser }) => Promise<string>;
}

export async function site(strategy: LooseOptions = {}, options: HostOptions = {}): Promise<Site> {
  const client = fakeClient();
  const host = createHost(client, { trustProxy: true, ...options, strategy });
  const url = await serve(host);
  return {
    client,
    host,
    url,
    async ask(phone = PHONE, { ip = '198.51.100.1', browser = host.browser(url) } = {}) {
      const { body } = await browser.post('/login', { phone }, { 'X-Forwarded-For': ip });
      return word(body);
    },
  };
}

export function word(body: {
  outcome?: { code: string; budget?: string; retryAfterSeconds?: number; alreadySent?: boolean };
  user?: object;
  error?: { code: string };
}): string {
  if (body.user) return 'logged in';
  if (body.error) return `error ${body.error.code}`;
  const { code, budget, retryAfterSeconds, alreadySent } = body.outcome ?? { code: 'nothing' };
  if (code === 'pin_sent') return alreadySent ? 'already sent' : 'sent';
  return budget === undefined ? code : `${budget} for ${retryAfterSeconds} s`;
}

export const wrongPins = async (browser: Browser, times: number) => {
  const words: string[] = [];
  for (let index = 0; index < times; index += 1) words.push(word((await browser.check('000000')).body));
  return words;
};

export const checked = async (browser: Browser, ip = '198.51.100.1') =>
  word((await browser.post('/login/pin', { pin: PIN }, { 'X-Forwarded-For': ip })).body);
