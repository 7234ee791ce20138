import { type FindingCode, Infobip2faClient } from 'passport-sms-otp/infobip';
import { type Simulator, type SimulatorOptions, startSimulator } from 'passport-sms-otp/simulator';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand, runOnTerminal } from '../support/command-line.js';
import { freePort } from '../support/ports.js';

const KEYS = [
  { key: 'may-send', scopes: ['2fa:pin:send'] },
  { key: 'may-nothing', scopes: ['2fa:sdk'] },
  { key: 'may-manage', scopes: ['2fa:manage'] },
] as const;

const simulators: Simulator[] = [];
afterAll(() => Promise.all(simulators.map((simulator) => simulator.close())));

async function simulate(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = await startSimulator({ keys: KEYS, ...options });
  simulators.push(simulator);
  return simulator;
}

function environmentOf({ url, apiKey, applicationId, messageId }: Simulator): Record<string, string> {
  return {
    INFOBIP_BASE_URL: url,
    INFOBIP_API_KEY: apiKey,
    INFOBIP_APPLICATION_ID: applicationId,
    INFOBIP_MESSAGE_ID: messageId,
  };
}

interface Scenario {
  what: string;
  /** Sets the simulator wrong; what it returns is laid over the environment. */
  wrong: (
    client: Infobip2faClient,
    simulator: Simulator,
  ) => Promise<Record<string, string> | undefined> | Record<string, string> | undefined;
  args?: string[];
  finds: FindingCode[];
}

const configuration = {
  pinAttempts: 5,
  allowMultiplePinVerifications: false,
  pinTimeToLive: '10m',
  verifyPinLimit: '5/1s',
  sendPinPerApplicationLimit: '10000/1d',
  sendPinPerPhoneNumberLimit: '10/1d',
};
const text = { pinType: 'NUMERIC', pinLength: 6 } as const;
const bound = '{{pin}}\n\n@shop.example #{{pin}}';

const scenarios: Scenario[] = [
  {
    what: "an application with Infobip's own limits",
    wrong: async (client, { applicationId }) => {
      await client.updateApplication(applicationId, {
        name: 'x',
        configuration: {
          pinAttempts: 3,
          allowMultiplePinVerifications: true,
          pinTimeToLive: '15m',
          verifyPinLimit: '1/3s',
          sendPinPerApplicationLimit: '100/1d',
          sendPinPerPhoneNumberLimit: '3/1d',
        },
      });
    },
    finds: [
      'pin_lives_longer',
      'repeat_verification_allowed',
      'fewer_attempts',
      'check_limit_low',
      'send_limit_low',
      'application_limit_low',
      'origin_line_missing',
    ],
  },
  {
    what: 'a disabled application whose PINs die early, and a service that fails half-way',
    wrong: async (client, simulator) => {
      const { applicationId } = simulator;
      await client.updateApplication(applicationId, {
        name: 'x',
        enabled: false,
        configuration: { pinTimeToLive: '5m' },
      });
      simulator.addFault({ operation: 'getMessageTemplate', status: 418 });
    },
    finds: ['application_disabled', 'pin_lives_shorter', 'service_failed'],
  },
  {
    what: 'a limit that nobody can read',
    wrong: (_client, simulator) => {
      const { applicationId } = simulator;
      const strange = { ...configuration, verifyPinLimit: 'seldom' };
      simulator.addFault({
        operation: 'getApplication',
        body: { applicationId, name: 'x', enabled: true, configuration: strange },
      });
    },
    finds: ['limit_unreadable', 'origin_line_missing'],
  },
  {
    what: 'PINs of the wrong shape, a shared sender, and no template for voice',
    wrong: async (client, { applicationId, messageId }) => {
      await client.updateMessageTemplate(applicationId, messageId, {
        pinLength: 4,
        pinType: 'HEX',
        senderId: 'ServiceSMS',
        messageText: bound,
      });
      return { INFOBIP_VOICE_MESSAGE_ID: 'NO-SUCH-TEMPLATE' };
    },
    args: ['--domain', 'other.example'],
    finds: [
      'pin_too_short',
      'pin_type_differs',
      'trial_account',
      'origin_line_of_other_domain',
      'template_not_found',
    ],
  },
  {
    what: 'PINs of another length, a long sender, a spoilt last line, and the template of an e-mail for calls',
    wrong: async (client, { applicationId, messageId }) => {
      await client.updateMessageTemplate(applicationId, messageId, {
        pinLength: 8,
        senderId: 'A sender too long',
        messageText: '@shop.example  #{{pin}}',
      });
      const email = await client.createEmailMessageTemplate(applicationId, { emailTemplateId: 7, ...text });
      return { INFOBIP_VOICE_MESSAGE_ID: email.messageId, INFOBIP_EMAIL_MESSAGE_ID: email.messageId };
    },
    finds: ['pin_length_differs', 'sender_too_long', 'origin_line_malformed', 'template_of_other_channel'],
  },
  {
    what: 'a key that may not send e-mails again',
    wrong: async (client, { applicationId, messageId }) => {
      await client.updateMessageTemplate(applicationId, messageId, { messageText: bound });
      const email = await client.createEmailMessageTemplate(applicationId, { emailTemplateId: 7, ...text });
      return { INFOBIP_EMAIL_MESSAGE_ID: email.messageId, INFOBIP_API_KEY: 'may-manage' };
    },
    finds: ['email_resend_scope'],
  },
  {
    what: 'a text without the line that the site counts on',
    wrong: () => undefined,
    args: ['--domain', 'shop.example'],
    finds: ['origin_line_missing'],
  },
  {
    what: 'a template without a length and without a PIN',
    wrong: (_client, simulator) => {
      const { messageId } = simulator;
      simulator.addFault({
        operation: 'getMessageTemplate',
        body: { messageId, messageText: 'Hello\n@shop.example #{{pin}', pinType: 'NUMERIC' },
      });
    },
    finds: ['pin_length_unknown', 'pin_placeholder_missing', 'origin_line_missing'],
  },
  {
    what: 'an application that is not there',
    wrong: () => ({ INFOBIP_APPLICATION_ID: 'NO-SUCH-APPLICATION' }),
    finds: ['application_not_found'],
  },
  {
    what: 'a key of another account',
    wrong: () => ({ INFOBIP_API_KEY: 'of-another-account' }),
    finds: ['key_refused'],
  },
  {
    what: 'a key that may do nothing',
    wrong: () => ({ INFOBIP_API_KEY: 'may-nothing' }),
    finds: ['scope_missing'],
  },
  {
    what: 'a key that may not look',
    wrong: () => ({ INFOBIP_API_KEY: 'may-send' }),
    finds: ['scope_manage_missing'],
  },
  {
    what: 'an address where nobody is',
    wrong: async () => ({ INFOBIP_BASE_URL: `http://127.0.0.1:${await freePort()}` }),
    finds: ['service_unreachable'],
  },
];

describe('passport-sms-otp doctor', { timeout: 60_000 }, () => {
  it.concurrent.each(scenarios)('names what is wrong with $what', async ({ wrong, args = [], finds }) => {
    const simulator = await simulate();
    const client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
    const env = { ...environmentOf(simulator), ...(await wrong(client, simulator)) };
    await client.close();
    const { status, stdout, stderr } = await runCommand(['doctor', '--json', ...args], { env });
    expect(stderr).toBe('');
    const { ok, findings } = JSON.parse(stdout);
    expect(findings.map(({ code }: { code: string }) => code)).toEqual(finds);
    expect({ ok, status }).toEqual({ ok: false, status: 1 });
  });

  it('has a scenario for every finding', () => {
    const all: Record<FindingCode, true> = {
      service_unreachable: true,
      service_failed: true,
      key_refused: true,
      scope_missing: true,
      scope_manage_missing: true,
      application_not_found: true,
      application_disabled: true,
      limit_unreadable: true,
      pin_lives_longer: true,
      pin_lives_shorter: true,
      repeat_verification_allowed: true,
      fewer_attempts: true,
      check_limit_low: true,
      send_limit_low: true,
      application_limit_low: true,
      template_not_found: true,
      template_of_other_channel: true,
      pin_placeholder_missing: true,
      pin_too_short: true,
      pin_length_differs: true,
      pin_length_unknown: true,
      pin_type_differs: true,
      origin_line_missing: true,
      origin_line_malformed: true,
      origin_line_of_other_domain: true,
      sender_too_long: true,
      trial_account: true,
      email_resend_scope: true,
    };
    const found = new Set(scenarios.flatMap(({ finds }) => finds));
    expect([...found].sort()).toEqual(Object.keys(all).sort());
  });

  it('ends with 0 where all is well, or only worth a note', async () => {
    const simulator = await simulate();
    const env = environmentOf(simulator);
    const note = await runCommand(['doctor'], { env });
    expect(note).toMatchObject({ status: 0, stderr: '' });
    expect(note.stdout).toMatch(
      /^info {5}origin_line_missing\n {9}The SMS has .*\n {9}End the .*\n\n1 note\.\n$/,
    );
    const client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
    await client.updateMessageTemplate(simulator.applicationId, simulator.messageId, { messageText: bound });
    await client.close();
    const well = await runCommand(['doctor', '--domain', 'shop.example'], { env });
    expect(well).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringMatching(/^All is well\..*\n$/),
    });
  });

  it('compares with the expectations that it is given', async () => {
    const simulator = await simulate();
    const client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
    await client.updateApplication(simulator.applicationId, {
      name: 'x',
      configuration: {
        ...configuration,
        pinAttempts: 3,
        pinTimeToLive: '5m',
        sendPinPerPhoneNumberLimit: '2/1d',
      },
    });
    const hex = { messageText: bound, pinType: 'HEX', pinLength: 8 } as const;
    await client.updateMessageTemplate(simulator.applicationId, simulator.messageId, hex);
    await client.close();
    const expected = ['--attempts=3', '--pin-ttl=300', '--pin-type=hex', '--pin-length=8'];
    const budgets = ['--sends-per-number=2/1d', '--sends-overall=10/m,10000/1d'];
    const args = ['doctor', '--json', ...expected, ...budgets];
    const { stdout } = await runCommand(args, { env: environmentOf(simulator) });
    expect(JSON.parse(stdout)).toEqual({ ok: true, findings: [] });
  });

  it('is in colour on a terminal, and plain in a pipe or with NO_COLOR', async () => {
    const env = { ...environmentOf(await simulate()), INFOBIP_API_KEY: 'may-send' };
    const terminal = await runOnTerminal(['doctor'], { env });
    expect(terminal).toMatchObject({
      status: 1,
      shown: expect.stringContaining('\u001b[33mwarning\u001b[0m  '),
    });
    const plain = await runOnTerminal(['doctor'], { env: { ...env, NO_COLOR: '1' } });
    const pipe = await runCommand(['doctor'], { env });
    expect(plain.shown.replaceAll('\r\n', '\n')).toBe(pipe.stdout);
    expect(pipe.stdout).toMatch(/^warning {2}scope_manage_missing\n/);
    expect(pipe.stdout).not.toContain('\u001b');
  });
});
