import { originBoundText } from 'passport-sms-otp';
import { diagnose2fa, Infobip2faClient, setUp2fa } from 'passport-sms-otp/infobip';
import { startSimulator } from 'passport-sms-otp/simulator';
import { describe, expect, it } from 'vitest';

const TEXT = '{{pin}} is your PIN.';
const at = (host: unknown, text: unknown = TEXT, more: object = {}) =>
  originBoundText({ text, host, ...more } as Parameters<typeof originBoundText>[0]);

/** Reads a message as the specification has browsers read it (section "Parsing"). */
function read(message: string): { host: string; code: string } | undefined {
  const line = message.replace(/\r\n?/g, '\n').split('\n').at(-1) ?? '';
  const [, host, code] = /^@([^\t\n\f\r ]+) #([^\t\n\f\r ]+)/.exec(line) ?? [];
  return host !== undefined && code !== undefined ? { host, code } : undefined;
}

describe('originBoundText', () => {
  it('adds the line by which a browser knows the host and the PIN', () => {
    const template = at('login.example.com');
    expect(template).toBe('{{pin}} is your PIN.\n\n@login.example.com #{{pin}}');
    expect(read(template.replaceAll('{{pin}}', '042137'))).toEqual({
      host: 'login.example.com',
      code: '042137',
    });
  });

  it('writes the host as browsers do: in lower case, and letters of other scripts in their ASCII form', () => {
    expect(at('Login.EXAMPLE.com')).toContain('@login.example.com #');
    expect(at('m\u00fcnchen.example')).toContain('@xn--mnchen-3ya.example #');
  });

  it('drops space around the text and writes line ends in one way', () => {
    expect(at('example.com', ' Hi!\r\nPIN: {{pin}}\r\n ')).toBe('Hi!\nPIN: {{pin}}\n\n@example.com #{{pin}}');
  });

  it('gives a text that a message template is made of, and that is found to be in order', async () => {
    const simulator = await startSimulator();
    const client = new Infobip2faClient({ baseUrl: simulator.url, apiKey: simulator.apiKey });
    try {
      const ids = await setUp2fa(client, { applicationName: 'Shop', sms: { text: at('example.com') } });
      const { applicationId, messageId } = ids;
      await client.sendPin({ channel: 'sms', applicationId, messageId, to: '+385911234567' });
      const message = simulator.lastMessageTo('+385911234567');
      expect(read(message?.text ?? '')).toEqual({ host: 'example.com', code: message?.pin });
      const findings = await diagnose2fa(client, { applicationId, messageId }, { domain: 'example.com' });
      expect(findings.map(({ code }) => code).filter((code) => code.startsWith('origin_line'))).toEqual([]);
    } finally {
      await client.close();
      await simulator.close();
    }
  });

  const noHosts = [
    'https://example.com',
    'example.com:443',
    'example.com/login',
    'user@example.com',
    'example.com?x',
    'example.com#x',
    'example.com\\x',
    '//example.com',
  ];
  it.each(noHosts)('refuses %s: a host has no scheme, port, path or name', (host) => {
    expect(() => at(host)).toThrow(TypeError);
    expect(() => at(host)).toThrow(`\`host\` is ${JSON.stringify(host)}. Write the host name only`);
  });

  const noDomains = [
    'localhost',
    'intranet',
    '192.168.1.20',
    '0x7f.1',
    '[::1]',
    'exa_mple.com',
    '-a.example',
    'example.com.',
    '.example.com',
    'example..com',
    'example.123',
    `${'a'.repeat(64)}.com`,
    'example.com%2f',
    '*.example.com',
    `${'a.'.repeat(126)}com`,
  ];
  it.each(noDomains)('refuses %s: it is no domain', (host) => {
    expect(() => at(host)).toThrow(TypeError);
  });

  it.each([undefined, null, '', ' ', 7, {}])('refuses %s as a host', (host) => {
    expect(() => at(host)).toThrow('`host` must be a host name');
  });

  it('refuses a text without {{pin}}, which people need where no browser reads the last line', () => {
    expect(() => at('example.com', 'Your PIN is below.')).toThrow('`text` has no {{pin}}');
    expect(() => at('example.com', '')).toThrow('`text` has no {{pin}}');
    expect(() => at('example.com', null)).toThrow('`text` must be a string');
  });

  const boundAlready = [
    'PIN {{pin}}\n@example.com #{{pin}}',
    'PIN {{pin}}\n\n@other.example #{{pin}}\nBye',
    'PIN {{pin}}\n@us',
    '@example.com #{{pin}}',
    originBoundText({ text: TEXT, host: 'example.com' }),
  ];
  it.each(boundAlready)('refuses a text that has such a line already: %j', (text) => {
    expect(() => at('example.com', text)).toThrow('`text` has a line that begins with "@" already');
  });

  it('leaves an @ within a line alone', () => {
    expect(at('example.com', '{{pin}} is your PIN. Help: help@example.com')).toContain(
      'help@example.com\n\n@',
    );
  });

  it.each(['\u0000', '\u001b', '\u2028', '\u0085'])('refuses the control character %j', (character) => {
    expect(() => at('example.com', `PIN {{pin}}${character}`.concat('.'))).toThrow('a control character');
  });

  it('counts what is billed: one SMS holds 160 characters with the PIN filled in, and 70 with another alphabet', () => {
    // "\n\n@example.com #" and six digits are 22.
    const fits = `{{pin}} ${'a'.repeat(160 - 22 - 7)}`;
    expect(at('example.com', fits).replaceAll('{{pin}}', '123456')).toHaveLength(160);
    expect(() => at('example.com', `${fits}c`)).toThrow('the message is billed as 2 SMS. Shorten the text');
    expect(() => at('example.com', fits, { pinLength: 8 })).toThrow('billed as 2 SMS');
    expect(() => at('example.com', fits.replace('a', '\u20ac'))).toThrow('billed as 2 SMS');

    const slavic = '{{pin}} je va\u0161 PIN'.padEnd(70 - 22 - 6 + 7, 'x');
    expect(at('example.com', slavic).replaceAll('{{pin}}', '123456')).toHaveLength(70);
    expect(() => at('example.com', `${slavic}x`)).toThrow(
      'billed as 2 SMS. "\u0161" is not in the alphabet of SMS, which leaves room for 70.',
    );
  });

  it('lets the host pay for more on request', () => {
    const long = `{{pin}} ${'word '.repeat(40)}`;
    expect(() => at('example.com', long)).toThrow('billed as 2 SMS');
    expect(at('example.com', long, { maxParts: 2 })).toContain('@example.com #{{pin}}');
    expect(() => at('example.com', long.repeat(2), { maxParts: 2 })).toThrow('billed as 3 SMS');
    expect(() => at('example.com', TEXT, { maxParts: 0 })).toThrow('whole numbers from 1');
  });

  it('does not count what it cannot know: placeholders of the template', () => {
    const text = `{{pin}} {{${'name'.repeat(40)}}}`;
    expect(at('example.com', text)).toContain(text);
  });
});
