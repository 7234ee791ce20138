// node scripts/screenshot.js makes docs/images/login.png: the example site beside the simulated phone, as `npm start` shows
// them. Needs Debian's chromium, and ports 3000 and 4010.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
const site = spawn(process.execPath, ['example-app/start.js'], {
  env: { ...process.env, DATA_DIR: await mkdtemp(join(tmpdir(), 'screenshot-')) },
  stdio: 'inherit',
});
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
try {
  for (let tries = 0; tries < 100; tries += 1) {
    const isUp = await fetch('http://127.0.0.1:3000/healthz').then(
      ({ ok }) => ok,
      () => false,
    );
    if (isUp) break;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const context = await browser.newContext({ viewport: { width: 560, height: 700 }, deviceScaleFactor: 1 });
  const page = await context.newPage();
  const phone = await context.newPage();
  await phone.goto('http://127.0.0.1:4010/');
  await page.goto('http://127.0.0.1:3000/login');
  await page.fill('#phone', '+385 91 234 5678');
  await page.click('form button');
  await page.waitForSelector('input[name=pin]');
  await phone.waitForTimeout(1500);
  const shots = [await page.screenshot(), await phone.screenshot()].map((shot) => shot.toString('base64'));
  const both = await context.newPage();
  await both.setViewportSize({ width: 1120, height: 700 });
  await both.setContent(
    `<body style="margin:0;display:flex">${shots.map((shot) => `<img src="data:image/png;base64,${shot}">`).join('')}</body>`,
  );
  mkdirSync('docs/images', { recursive: true });
  await both.screenshot({ path: 'docs/images/login.png' });
} finally {
  await browser.close();
  site.kill('SIGTERM');
}
