import { describe, expect, it } from 'vitest';
import { readSettings } from '../../example-app/src/settings.js';
import { StartupError } from '../../example-app/src/startup-error.js';

function sentencesFor(variables: NodeJS.ProcessEnv): string[] {
  try {
    readSettings(variables);
  } catch (error) {
    if (error instanceof StartupError) return error.message.split('\n');
    throw error;
  }
  return [];
}

const service = { INFOBIP_BASE_URL: 'https://abc.api.infobip.com', INFOBIP_API_KEY: 'key' };

describe('settings without any variable', () => {
  it('serve every country from the simulator, on loopback only', () => {
    expect(readSettings({})).toMatchObject({
      host: '127.0.0.1',
      port: 3000,
      simulatorPort: 4010,
      countries: 'all',
      infobip: undefined,
      publicUrl: undefined,
      sessionSecret: undefined,
      trustProxy: false,
    });
    expect(readSettings({}).dataFolder).toMatch(/example-app\/data$/);
  });

  it('are the same when the variables are there but empty', () => {
    const empty = Object.fromEntries(
      [
        ...[
          'PORT',
          'SIMULATOR_PORT',
          'HOST',
          'INFOBIP_BASE_URL',
          'INFOBIP_API_KEY',
          'INFOBIP_APPLICATION_ID',
        ],
        ...['INFOBIP_MESSAGE_ID', 'SMS_COUNTRIES', 'SESSION_SECRET', 'PUBLIC_URL', 'TRUST_PROXY', 'DATA_DIR'],
      ].map((name) => [name, name === 'PORT' ? ' ' : '']),
    );
    expect(readSettings(empty)).toEqual(readSettings({}));
  });
});

describe('settings for a service', () => {
  it('name the service, what to use there, and the countries', () => {
    const settings = readSettings({
      ...service,
      INFOBIP_APPLICATION_ID: 'app',
      INFOBIP_MESSAGE_ID: 'msg',
      SMS_COUNTRIES: 'hr, SI',
    });
    expect(settings.infobip).toEqual({
      baseUrl: 'https://abc.api.infobip.com',
      apiKey: 'key',
      applicationId: 'app',
      messageId: 'msg',
    });
    expect(settings.countries).toEqual(['HR', 'SI']);
  });

  it.each(['http://127.0.0.1:4010', 'http://localhost:4010', 'http://[::1]:4010', '127.0.0.1:4010'])(
    'serve every country at the loopback address %s',
    (INFOBIP_BASE_URL) => {
      expect(readSettings({ ...service, INFOBIP_BASE_URL }).countries).toBe('all');
    },
  );

  it('serve every country of a real service only when told so', () => {
    expect(readSettings({ ...service, SMS_COUNTRIES: 'all' }).countries).toBe('all');
    expect(sentencesFor(service)).toEqual([
      'SMS_COUNTRIES is required with a real service, which charges for each message: list the countries you serve, for instance SMS_COUNTRIES=HR,SI.',
    ]);
  });
});

describe('a setting that cannot be used gets a sentence', () => {
  const countries = { SMS_COUNTRIES: 'HR' };

  it.each<[string, NodeJS.ProcessEnv, RegExp]>([
    ['a port with letters', { PORT: '80a' }, /^PORT must be a number from 0 to 65535/],
    ['a port that is too large', { PORT: '65536' }, /^PORT must be a number/],
    [
      'a negative port',
      { SIMULATOR_PORT: '-1' },
      /^SIMULATOR_PORT must be a number .* SIMULATOR_PORT=4010\.$/,
    ],
    ['the same port twice', { PORT: '4010' }, /^PORT and SIMULATOR_PORT are both 4010: give one/],
    [
      'an address without a key',
      { INFOBIP_BASE_URL: 'http://127.0.0.1:1' },
      /without INFOBIP_API_KEY: set both/,
    ],
    ['a key without an address', { INFOBIP_API_KEY: 'k' }, /without INFOBIP_BASE_URL: set both/],
    [
      'a template without an application',
      { ...service, ...countries, INFOBIP_MESSAGE_ID: 'm' },
      /set both\.$/,
    ],
    [
      'countries by name',
      { SMS_COUNTRIES: 'Croatia' },
      /^SMS_COUNTRIES must list countries by their two letters/,
    ],
    ['no country in the list', { SMS_COUNTRIES: ',' }, /^SMS_COUNTRIES must list countries/],
    ['a public address without scheme', { PUBLIC_URL: 'example.com' }, /^PUBLIC_URL must be the address/],
    [
      'a public address with a path',
      { PUBLIC_URL: 'https://example.com/a' },
      /^PUBLIC_URL must be the address/,
    ],
    [
      'a public address of another kind',
      { PUBLIC_URL: 'ftp://example.com' },
      /^PUBLIC_URL must be the address/,
    ],
    ['a short secret', { SESSION_SECRET: 'short' }, /^SESSION_SECRET must have 32 characters or more/],
    [
      'production without a secret',
      { NODE_ENV: 'production' },
      /^SESSION_SECRET is required when NODE_ENV=production/,
    ],
    ['a proxy that is no address', { TRUST_PROXY: 'my-proxy' }, /^TRUST_PROXY must be a number of proxies/],
  ])('%s', (_what, variables, sentence) => {
    const sentences = sentencesFor(variables);
    expect(sentences).toHaveLength(1);
    expect(sentences[0]).toMatch(sentence);
    expect(sentences[0]).toMatch(/\.$/);
  });

  it('and each of several gets its own', () => {
    expect(sentencesFor({ PORT: 'x', PUBLIC_URL: 'x', TRUST_PROXY: 'x' })).toHaveLength(3);
  });
});

describe('TRUST_PROXY', () => {
  it.each([
    ['1', 1],
    ['true', true],
    ['false', false],
    ['loopback, 10.0.0.0/8', 'loopback, 10.0.0.0/8'],
  ])('%s becomes what Express takes', (text, value) => {
    expect(readSettings({ TRUST_PROXY: text }).trustProxy).toBe(value);
  });
});
