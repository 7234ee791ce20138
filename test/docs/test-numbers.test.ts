/** The code of docs/test-numbers.md, in a site of its own. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { OtpClient } from 'passport-sms-otp';
import { type Simulator, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createHost, PHONE } from '../support/host.js';

const root = new URL('../..', import.meta.url);
const folder = new URL('.cache/test-numbers/', root);
const page = await readFile(new URL('docs/test-numbers.md', root), 'utf8');
const code = (name: string) =>
  new RegExp(`^\`\`\`js ${name}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(page)?.[1] ?? '';

let simulator: Simulator;
beforeAll(async () => {
  simulator = await startSimulator();
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await simulator.close();
});

describe('docs/test-numbers.md', () => {
  it('lets a reviewer into the demo account without a message, and everybody else in by one', async () => {
    const env = {
      INFOBIP_BASE_URL: simulator.url,
      INFOBIP_API_KEY: simulator.apiKey,
      REVIEW_NUMBER: '+447700900123',
      REVIEW_PIN: '731946',
      REVIEW_UNTIL: new Date(Date.now() + 86_400_000).toISOString(),
    };
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const users = `const users = {
      find: async (id) => ({ id }),
      findOrCreate: async ({ phoneNumber }) => ({ id: phoneNumber }),
    };`;
    await mkdir(folder, { recursive: true });
    await writeFile(new URL('site.js', folder), `${code('client')}\n${users}\n${code('verify')}`);
    const { client, verify } = await import(new URL('site.js', folder).href);
    const { applicationId, messageId } = simulator;
    const host = createHost(client satisfies OtpClient, { verify, strategy: { applicationId, messageId } });

    const reviewer = host.browser();
    await reviewer.issue('+44 7700 900123');
    expect((await reviewer.check('731946')).body.user).toEqual({ id: 'demo' });
    expect(simulator.messages).toHaveLength(0);

    const visitor = host.browser();
    await visitor.issue(PHONE);
    const pin = simulator.lastMessageTo(PHONE)?.pin ?? '';
    expect((await visitor.check(pin)).body.user).toEqual({ id: PHONE });
  });
});
