import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { chromiumPath, requireOrSkip } from '../support/services.js';
import { startTestSite, type TestSite } from './site.js';

const executablePath = chromiumPath();
const isMissing = requireOrSkip('Chromium', executablePath);

/** A name that is not localhost: to a browser the site is then plain http, with no `Sec-Fetch-Site`. */
const elsewhere = 'site.test';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const axeResult = z.object({
  violations: z.array(z.object({ id: z.string(), nodes: z.array(z.object({ html: z.string() })) })),
});

let browser: Browser;
let simulator: Simulator;
let client: Infobip2faClient;
let site: TestSite;
/** What a browser complained about: errors of scripts, and what the content security policy stopped. */
let complaints: string[] = [];
let lastNumber = 1_000_000;

beforeAll(async () => {
  if (isMissing) return;
  browser = await chromium.launch({
    executablePath: executablePath ?? '',
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
      `--host-resolver-rules=MAP ${elsewhere} 127.0.0.1`,
    ],
  });
  simulator = await startSimulator();
  client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
  const { applicationId, messageId } = simulator;
  site = await startTestSite(client, { applicationId, messageId });
});

afterEach(async () => {
  if (isMissing) return;
  await Promise.all(browser.contexts().map((context) => context.close()));
  const heard = complaints;
  complaints = [];
  expect(heard).toEqual([]);
});

afterAll(async () => {
  if (isMissing) return;
  await browser.close();
  await site.close();
  await client.close();
  await simulator.close();
});

async function open(path: string, options: BrowserContextOptions & { host?: string } = {}): Promise<Page> {
  const { host = '127.0.0.1', ...context } = options;
  const page = await (await browser.newContext(context)).newPage();
  page.setDefaultTimeout(10_000);
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // A form that comes back with an outcome has its status, and Chromium notes that.
    const isStatus = message.text().startsWith('Failed to load resource: the server responded with');
    // These headers are for https, and harmless elsewhere.
    const isForHttps = /Cross-Origin-Opener-Policy|Origin-Agent-Cluster/.test(message.text());
    if (message.type() === 'error' && !isStatus && !isForHttps) complaints.push(message.text());
  });
  await page.goto(site.url.replace('127.0.0.1', host) + path);
  return page;
}

/** A number that nobody has used: each test has budgets of its own. */
function newNumber(): string {
  lastNumber += 1;
  return `+38591${lastNumber}`;
}

function pinFor(phone: string): string {
  const pin = simulator.lastMessageTo(phone)?.pin;
  if (pin === undefined) throw new Error(`no message to ${phone}`);
  return pin;
}

async function askForPin(page: Page, phone: string): Promise<void> {
  await page.locator('#phone:focus').fill(phone);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/login/pin');
}

function pathOf(page: Page): string {
  return new URL(page.url()).pathname;
}

describe.skipIf(isMissing).each([
  ['with JavaScript', { javaScriptEnabled: true }],
  ['without JavaScript', { javaScriptEnabled: false }],
])('in a browser %s', (_how, how) => {
  it.each(['127.0.0.1', elsewhere])(
    'a visitor of http://%s logs in, by keyboard alone, and out again',
    async (host) => {
      const phone = newNumber();
      const page = await open('/account', { ...how, host });
      expect(pathOf(page)).toBe('/login');
      await askForPin(page, phone);
      await page.locator('#pin:focus').fill(pinFor(phone));
      await page.keyboard.press('Enter');
      await page.waitForURL('**/account');
      await page.getByText(phone, { exact: true }).waitFor();
      const id = await page.locator('[data-user-id]').textContent();
      expect(id).toMatch(/^[0-9a-f-]{36}$/);

      await page.getByRole('button', { name: 'Log out' }).click();
      await page.getByRole('link', { name: 'Get your pass' }).waitFor();
      await page.goto(new URL('/account', page.url()).href);
      expect(pathOf(page)).toBe('/login');
    },
  );

  it('a mistake is told beside the field, which keeps what was typed and the focus', async () => {
    const phone = newNumber();
    const page = await open('/login', how);
    await page.locator('#phone').fill('12');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'does not look like a phone number' }).waitFor();
    expect(await page.locator('#phone:focus').inputValue()).toBe('12');
    await askForPin(page, phone);

    const wrong = pinFor(phone) === '000000' ? '111111' : '000000';
    await page.locator('#pin').fill(wrong);
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: '4 attempts left' }).waitFor();
    expect(await page.locator('#pin:focus').inputValue()).toBe(wrong);
    await page.locator('#pin').fill(pinFor(phone));
    await page.keyboard.press('Enter');
    await page.waitForURL('**/account');
  });

  it('going back and sending the number again leads to the same PIN', async () => {
    const phone = newNumber();
    const page = await open('/login', how);
    await askForPin(page, phone);
    await page.goBack();
    await page.locator('#phone').fill(phone);
    await page.getByRole('button', { name: 'Send me a PIN' }).click();
    await page.waitForURL('**/login/pin');
    expect(simulator.messages.filter(({ to }) => phone.endsWith(to.replace('+', '')))).toHaveLength(1);
  });

  it('a double click sends one message, and shows the page for the PIN', async () => {
    const phone = newNumber();
    const page = await open('/login', how);
    simulator.addFault({ operation: 'sendPin', delayMs: 300 });
    await page.locator('#phone').fill(phone);
    await page.getByRole('button', { name: 'Send me a PIN' }).dblclick({ noWaitAfter: true });
    await page.waitForURL('**/login/pin');
    expect(simulator.messages.filter(({ to }) => phone.endsWith(to.replace('+', '')))).toHaveLength(1);
  });

  it('the wait for another message counts down to its end', async () => {
    const page = await open('/login', how);
    await askForPin(page, newNumber());
    const shown = async () =>
      Number(
        await page.evaluate(
          "getComputedStyle(document.querySelector('.seconds')).getPropertyValue('--seconds')",
        ),
      );
    const moveTo = (ms: number) =>
      page.evaluate(`for (const animation of document.getAnimations()) animation.currentTime = ${ms}`);
    expect(await shown()).toBeGreaterThan(25);
    await moveTo(20_000);
    expect(await shown()).toBeLessThanOrEqual(10);
    expect(await page.locator('.wait').isVisible()).toBe(true);
    await moveTo(31_000);
    expect(await page.locator('.wait').isVisible()).toBe(false);
  });
});

describe.skipIf(isMissing)('in a browser with JavaScript', () => {
  it('a button is disabled once it was pressed, and the one for another message until the wait is over', async () => {
    const phone = newNumber();
    const page = await open('/login');
    await page.clock.install();
    // Noted by the page itself: once the form is on its way, nobody can look at it for certain.
    await page.evaluate(
      "addEventListener('submit', () => { sessionStorage.wasDisabled = document.querySelector('button').disabled; })",
    );
    await askForPin(page, phone);
    expect(await page.evaluate('sessionStorage.wasDisabled')).toBe('true');

    const resend = page.getByRole('button', { name: 'Send it again' });
    expect(await resend.isDisabled()).toBe(true);
    await page.clock.fastForward(31_000);
    expect(await resend.isDisabled()).toBe(false);
  });

  it('the next digit replaces a PIN that was refused', async () => {
    const page = await open('/login');
    await askForPin(page, newNumber());
    await page.locator('#pin').fill('12345');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').waitFor();
    await page.keyboard.type('6');
    expect(await page.locator('#pin').inputValue()).toBe('6');
  });
});

describe.skipIf(isMissing)('every page, also with a mistake in it', () => {
  async function fits(page: Page, name: string): Promise<void> {
    const overflow = Number(await page.evaluate('document.documentElement.scrollWidth - innerWidth'));
    expect(overflow, `${name} is wider than the screen`).toBeLessThanOrEqual(0);
  }

  async function isAccessible(page: Page, name: string): Promise<void> {
    await fits(page, name);
    await page.evaluate(axeSource);
    const { violations } = axeResult.parse(await page.evaluate('axe.run()'));
    expect(
      violations.map(({ id, nodes }) => `${name}: ${id} at ${nodes.map(({ html }) => html).join(' ')}`),
    ).toEqual([]);
  }

  it.each([
    ['is accessible to all in light colours', 'light', 360, isAccessible],
    ['is accessible to all in dark colours', 'dark', 360, isAccessible],
    ['fits into a narrow screen', 'light', 320, fits],
    ['fits into a wide screen', 'light', 1280, fits],
  ] as const)('%s', async (_what, colorScheme, width, expectFine) => {
    const phone = newNumber();
    const page = await open('/', { colorScheme, viewport: { width, height: 800 } });
    await expectFine(page, 'the first page');
    await page.goto(`${site.url}/nowhere`);
    await expectFine(page, 'a page that is not there');
    await page.goto(`${site.url}/login`);
    await expectFine(page, 'the login');
    await page.locator('#phone').press('Enter');
    await page.getByRole('alert').waitFor();
    await expectFine(page, 'the login with a mistake');
    await askForPin(page, phone);
    await expectFine(page, 'the page for the PIN');
    await page.locator('#pin').press('Enter');
    await page.getByRole('alert').waitFor();
    await expectFine(page, 'the page for the PIN with a mistake');
    await page.locator('#pin').fill(pinFor(phone));
    await page.keyboard.press('Enter');
    await page.waitForURL('**/account');
    await expectFine(page, 'the account');
  });
});
