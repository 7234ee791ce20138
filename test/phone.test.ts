import { describe, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from './support/calm.js';
import { createHost, fakeClient, type LooseOptions } from './support/host.js';

expectNoUnhandledRejection();

const BULLETS = '\u2022\u2022\u2022';

/** What comes of typing a number: where the PIN went, or the outcome that refused it. */
async function typed(phone: unknown, strategy: LooseOptions = { countries: 'all' }) {
  const client = fakeClient();
  const host = createHost(client, { strategy });
  const browser = host.browser();
  const { status, body } = await browser.agent
    .post('/login')
    .set('Sec-Fetch-Site', 'same-origin')
    .send({ phone });
  const { code, country, to } = body.outcome;
  const sent = client.sends.map((send) => send.to);
  return { status, code, country, masked: to, sent };
}

const accepted = (number: string) => ({ status: 202, code: 'pin_sent', sent: [number] });
const invalid = { status: 400, code: 'phone_invalid', sent: [] };
const missing = { status: 400, code: 'phone_missing', sent: [] };
const notAllowed = (country: string) => ({ status: 403, code: 'phone_not_allowed', country, sent: [] });

describe('a typed number', () => {
  it.each([
    ['in E.164', '+385911234567'],
    ['with blanks', '+385 91 123 4567'],
    ['with hyphens', '+385-91-123-4567'],
    ['with hyphens of a word processor', '+385\u201191\u2013123\u20144567'],
    ['with hard blanks', '\u00a0+385\u00a091\u202f123\u20094567 '],
    ['with brackets, dots and slashes', '+385 (91) 123.45/67'],
    ['in full width', '\uff0b\uff13\uff18\uff15\uff19\uff11\uff11\uff12\uff13\uff14\uff15\uff16\uff17'],
    ['in Arabic-Indic digits', '+\u0663\u0668\u0665\u0669\u0661\u0661\u0662\u0663\u0664\u0665\u0666\u0667'],
    ['in Devanagari digits', '+\u0969\u096e\u096b\u096f\u0967\u0967\u0968\u0969\u096a\u096b\u096c\u096d'],
    ['copied from a contact, with direction marks', '\u202a+385 91 123 4567\u202c'],
    ['with as many blanks as there is room for', `+385911234567${' '.repeat(51)}`],
  ])('is read %s', async (_how, phone) => {
    expect(await typed(phone)).toMatchObject(accepted('+385911234567'));
  });

  it('is read in the digits of every script that Unicode knows', async () => {
    const client = fakeClient();
    const host = createHost(client, {
      strategy: { countries: 'all', budgets: { sendsPerNumber: null, uncompletedPerClient: null } },
    });
    const scripts = Intl.supportedValuesOf('numberingSystem').flatMap((system) => {
      const digits = Array.from({ length: 10 }, (_, digit) =>
        new Intl.NumberFormat('en', { numberingSystem: system, useGrouping: false }).format(digit),
      );
      // Some systems (Chinese decimals) write with characters that are no digits for Unicode.
      return digits.every((digit) => /^\p{Nd}$/u.test(digit)) ? [{ system, digits }] : [];
    });
    expect(scripts.length).toBeGreaterThan(60);
    const read = await Promise.all(
      scripts.map(async ({ system, digits }) => {
        const phone = '+385910987654'.replace(/\d/gu, (digit) => digits[Number(digit)] ?? '');
        const { body } = await host.browser().issue(phone);
        return [system, body.outcome.code];
      }),
    );
    expect(read).toEqual(scripts.map(({ system }) => [system, 'pin_sent']));
    expect(new Set(client.sends.map(({ to }) => to))).toEqual(new Set(['+385910987654']));
  });

  it('may be national where there is one country to take it for', async () => {
    expect(await typed('091 123 4567', { countries: ['HR'] })).toMatchObject(accepted('+385911234567'));
    expect(await typed('00385 91 123 4567', { countries: ['HR'] })).toMatchObject(accepted('+385911234567'));
    expect(await typed('041 123 456', { countries: ['HR', 'SI'], defaultCountry: 'SI' })).toMatchObject(
      accepted('+38641123456'),
    );
    expect(await typed('+38641123456', { countries: ['HR', 'SI'], defaultCountry: 'HR' })).toMatchObject(
      accepted('+38641123456'),
    );
  });

  it('must have its country code where there are several', async () => {
    expect(await typed('091 123 4567', { countries: ['HR', 'SI'] })).toMatchObject(invalid);
    expect(await typed('091 123 4567')).toMatchObject(invalid);
    expect(await typed('00385 91 123 4567')).toMatchObject(invalid);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['an empty text', ''],
    ['blanks', ' \u00a0 '],
  ])('is missing when it is %s', async (_what, phone) => {
    expect(await typed(phone)).toMatchObject(missing);
  });

  it.each([
    ['a word', 'phone'],
    ['a plus sign', '+'],
    ['hyphens', '---'],
    ['too short', '+3851'],
    ['too long', '+3859112345678901'],
    ['too short for its country', '+38591123'],
    ['two plus signs', '++385911234567'],
    ['a plus sign inside', '+385+911234567'],
    ['a number in a sentence', 'call +385911234567'],
    ['two numbers', '+385911234567, +385911234568'],
    ['a letter number', '+1800FLOWERS'],
    ['an extension by semicolon', '+385911234567;ext=5'],
    ['an extension by letter', '+385911234567x5'],
    ['an extension by word', '+385911234567 ext. 5'],
    ['an extension by comma', '+385911234567,,5'],
    ['an extension by hash', '+385911234567#5'],
    ['a URI', 'tel:+385911234567'],
    ['a tab inside', '+385\t911234567'],
    ['a NUL inside', '+385\u0000911234567'],
    ['a line end behind', '+385911234567\n'],
    ['a zero-width blank inside', '+385\u200b911234567'],
    ['an unknown country code', '+999911234567'],
    ['country code 0', '+0911234567'],
    ['country code 210', '+21012345678'],
    ['a short number', '112'],
    ['in no range of a country', '+447700900123'],
    ['a satellite of Iridium', '+881612345678'],
    ['a satellite of Inmarsat', '+870776543210'],
    ['a network of no country', '+882161234567'],
    ['another network of no country', '+883510012345678'],
    ['universal freephone', '+80012345678'],
    ['universal shared cost', '+80812345678'],
    ['universal personal', '+87812345678901'],
    ['universal premium', '+979123456789'],
    ['a number of JSON', 385911234567],
    ['a truth', true],
    ['a list', ['+385911234567']],
    ['an object', { length: 13 }],
    ['longer than anybody types', `+385911234567${' '.repeat(52)}`],
  ])('is invalid when it is %s', async (_what, phone) => {
    expect(await typed(phone)).toMatchObject(invalid);
  });

  it.each([
    ['mobile', '+385911234567'],
    ['a US number, fixed line or mobile', '+12025550123'],
    ['VoIP', '+445600123456'],
    ['of a territory', '+447911123456'],
  ])('gets a PIN when it is %s', async (_what, phone) => {
    expect(await typed(phone)).toMatchObject(accepted(phone));
  });

  it.each([
    ['premium rate', '+38560012345', 'HR'],
    ['premium rate abroad', '+19002345678', 'US'],
    ['shared cost', '+448431234567', 'GB'],
    ['toll free', '+385800123456', 'HR'],
    ['toll free in the US', '+18002345678', 'US'],
    ['a pager', '+447640123456', 'GB'],
    ['voicemail', '+49160131234567', 'DE'],
    ['a company number', '+443012345678', 'GB'],
    ['personal', '+447012345678', 'GB'],
    ['a fixed line, which gets no SMS', '+38512345678', 'HR'],
    ['of no known kind', '+38593123456', 'HR'],
  ])('gets no PIN when it is %s', async (_what, phone, country) => {
    expect(await typed(phone)).toMatchObject(notAllowed(country));
  });

  it('gets no PIN when its country is not served', async () => {
    expect(await typed('+38641123456', { countries: ['HR'] })).toMatchObject(notAllowed('SI'));
    expect(await typed('+447911123456', { countries: ['GB'] })).toMatchObject(notAllowed('GG'));
    expect(await typed('+12425550123', { countries: ['US'] })).toMatchObject({ status: 403, sent: [] });
  });

  it('is judged by the kinds that the host names instead', async () => {
    const blockedNumberTypes = ['MOBILE'] as const;
    expect(await typed('+38512345678', { countries: ['HR'], blockedNumberTypes })).toMatchObject(
      accepted('+38512345678'),
    );
    expect(await typed('+385911234567', { countries: ['HR'], blockedNumberTypes })).toMatchObject(
      notAllowed('HR'),
    );
    expect(await typed('+38593123456', { countries: 'all', blockedNumberTypes: [] })).toMatchObject(
      notAllowed('HR'),
    );
  });

  it.each([
    ['+385911234567', `+385 ${BULLETS} 67`],
    ['+12025550123', `+1 ${BULLETS} 23`],
    ['+447911123456', `+44 ${BULLETS} 56`],
  ])('is shown by its country code and last two digits: %s', async (phone, masked) => {
    expect((await typed(phone)).masked).toBe(masked);
  });

  it('is looked up under the name that the host gives the field', async () => {
    const client = fakeClient();
    const host = createHost(client, { strategy: { phoneField: 'mobile', pinField: 'code' } });
    const browser = host.browser();
    expect((await browser.issue()).body.outcome.code).toBe('phone_missing');
    expect((await browser.post('/login', { mobile: '091 123 4567' })).status).toBe(202);
    expect((await browser.check()).body.outcome.code).toBe('pin_missing');
    expect((await browser.post('/login/pin', { code: '042137' })).status).toBe(200);
  });
});
