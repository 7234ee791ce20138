import express from 'express';
import { openChallenge } from 'passport-sms-otp';
import request from 'supertest';
import { describe, expect, it } from 'vitest';
import { expectNoUnhandledRejection } from '../support/calm.js';
import { createHost, fakeClient, type HostOptions, PHONE, PIN } from '../support/host.js';

expectNoUnhandledRejection();

const FORM = 'application/x-www-form-urlencoded';
const JSON_TYPE = 'application/json';
const LARGE = 10 * 1024 * 1024;

interface Post {
  type?: string;
  body?: string;
}

type Expected = [status: number, code: string];

async function answersOf(
  posts: [title: string, post: Post, expected: Expected][],
  path: string,
  options: HostOptions,
) {
  const client = fakeClient();
  const host = createHost(client, options);
  const browser = host.browser();
  if (path === '/login/pin') await browser.issue();
  const sends = client.sends.length;
  const answers: [string, Expected][] = [];
  for (const [title, { type, body }] of posts) {
    const post = browser.agent.post(path).set('Sec-Fetch-Site', 'same-origin');
    if (type !== undefined) post.set('Content-Type', type);
    const { status, body: answer } = await (body === undefined ? post : post.send(body));
    answers.push([title, [status, answer.outcome?.code ?? answer.error?.code]]);
  }
  return { client, host, browser, sends, answers };
}

const form = (body: string): Post => ({ type: FORM, body });
const json = (value: unknown): Post => ({ type: JSON_TYPE, body: JSON.stringify(value) });
const rawJson = (body: string): Post => ({ type: JSON_TYPE, body });

/** Bodies that hold no usable `field`, whatever it is for. */
function withoutField(field: string, good: string): [string, Post][] {
  return [
    ['nothing at all', {}],
    ['an empty form', form('')],
    ['an empty field', form(`${field}=`)],
    ['blanks', form(`${field}=%20%C2%A0%20`)],
    [
      'a form of another type',
      { type: 'multipart/form-data; boundary=x', body: `--x\r\n\r\n${good}\r\n--x--` },
    ],
    ['plain text', { type: 'text/plain', body: `${field}=${good}` }],
    ['bytes', { type: 'application/octet-stream', body: `${field}=${good}` }],
    ['an empty object', json({})],
    ['a list', json([good])],
    ['null in the field', json({ [field]: null })],
    ['a prototype with the field, in JSON', rawJson(`{"__proto__":{"${field}":"${good}"}}`)],
    [
      'a constructor with the field, in JSON',
      rawJson(`{"constructor":{"prototype":{"${field}":"${good}"}}}`),
    ],
    ['a prototype with the field, in a form', form(`__proto__[${field}]=${good}`)],
    ['a constructor with the field, in a form', form(`constructor[prototype][${field}]=${good}`)],
  ];
}

/** Bodies whose `field` is there and is no text that could be meant. */
function withBadField(field: string, good: string): [string, Post][] {
  return [
    ['a list', form(`${field}[]=${good}`)],
    ['the field twice', form(`${field}=${good}&${field}=${good}`)],
    ['an object', form(`${field}[a]=${good}`)],
    ['an object with a prototype', form(`${field}[__proto__][toString]=${good}&${field}[x]=1`)],
    ['an object that says it is a text', form(`${field}[length]=6&${field}[toString]=${good}`)],
    ['true', json({ [field]: true })],
    ['false', json({ [field]: false })],
    ['zero', json({ [field]: 0 })],
    ['a number', json({ [field]: Number(good.replace('+', '')) })],
    ['a list in JSON', json({ [field]: [good] })],
    ['an object in JSON', json({ [field]: { toString: good, valueOf: good } })],
    ['a NUL inside', json({ [field]: `${good.slice(0, 3)}\u0000${good.slice(3)}` })],
    ['a NUL behind', json({ [field]: `${good}\u0000` })],
    ['a line end inside', json({ [field]: `${good.slice(0, 3)}\r\n${good.slice(3)}` })],
    ['a line end behind', json({ [field]: `${good}\n` })],
    ['a backspace', json({ [field]: `${good}\b` })],
    ['an escape', json({ [field]: `\u001b[2J${good}` })],
    ['a lone surrogate', rawJson(`{"${field}":"\\ud800${good}"}`)],
    ['letters', form(`${field}=phone`)],
    ['markup', form(`${field}=<script>alert(1)</script>`)],
    ['a template', form(`${field}={{pin}}`)],
    ['a path', form(`${field}=../../etc/passwd`)],
    ['100,000 digits', form(`${field}=${'1'.repeat(100_000 - 10)}`)],
    ['100,000 blanks and a good one', form(`${field}=${'+'.repeat(99_000)}${good}`)],
  ];
}

describe('a hostile request', () => {
  const noNumber = withoutField('phone', '%2B385911234567');
  const badNumber = withBadField('phone', '385911234567');
  const noPin = withoutField('pin', PIN);
  const badPin = withBadField('pin', PIN);

  it('for a PIN without a number gets a 400 and no PIN', async () => {
    const posts = noNumber.map(([title, post]): [string, Post, Expected] => [
      title,
      post,
      [400, 'phone_missing'],
    ]);
    const { answers, client, browser } = await answersOf(posts, '/login', {});
    expect(answers).toEqual(posts.map(([title, , expected]) => [title, expected]));
    expect([client.sends, client.resends, client.checks]).toEqual([[], [], []]);
    expect((await browser.issue()).status).toBe(202);
  });

  it('for a PIN with something that is no number gets a 400 and no PIN', async () => {
    const posts = badNumber.map(([title, post]): [string, Post, Expected] => [
      title,
      post,
      [400, 'phone_invalid'],
    ]);
    const { answers, client, browser } = await answersOf(posts, '/login', {});
    expect(answers).toEqual(posts.map(([title, , expected]) => [title, expected]));
    expect([client.sends, client.resends, client.checks]).toEqual([[], [], []]);
    expect((await browser.issue()).status).toBe(202);
  });

  it('to check nothing gets a 400, asks nobody and costs no attempt', async () => {
    const posts = noPin.map(([title, post]): [string, Post, Expected] => [title, post, [400, 'pin_missing']]);
    const { answers, client, browser, sends } = await answersOf(posts, '/login/pin', {});
    expect(answers).toEqual(posts.map(([title, , expected]) => [title, expected]));
    expect([client.sends.length - sends, client.checks]).toEqual([0, []]);
    expect((await browser.get('/challenge')).body.attemptsRemaining).toBe(5);
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 4 });
    expect((await browser.check()).status).toBe(200);
  });

  it('to check something that is no PIN gets a 400, asks nobody and costs no attempt', async () => {
    const posts = badPin.map(([title, post]): [string, Post, Expected] => [
      title,
      post,
      [400, 'pin_malformed'],
    ]);
    const { answers, client, browser } = await answersOf(posts, '/login/pin', {});
    expect(answers).toEqual(posts.map(([title, , expected]) => [title, expected]));
    expect(client.checks).toEqual([]);
    expect((await browser.check('000000')).body.outcome).toMatchObject({ attemptsRemaining: 4 });
    expect((await browser.check()).status).toBe(200);
  });

  it('in JSON is a request without fields where the site reads forms only', async () => {
    const forms = { parsers: [express.urlencoded({ extended: false })] };
    const issue = await answersOf([['', json({ phone: PHONE }), [400, 'phone_missing']]], '/login', forms);
    expect(issue.answers).toEqual([['', [400, 'phone_missing']]]);
    const check = await answersOf([['', json({ pin: PIN }), [400, 'pin_missing']]], '/login/pin', forms);
    expect(check.answers).toEqual([['', [400, 'pin_missing']]]);
    expect([issue.client.sends, check.client.checks]).toEqual([[], []]);
  });

  it('is one without fields where the site reads no bodies at all', async () => {
    const { answers, client } = await answersOf(
      [['', form('phone=%2B385911234567'), [400, 'phone_missing']]],
      '/login',
      { parsers: [(_req, _res, next) => next()] },
    );
    expect(answers).toEqual([['', [400, 'phone_missing']]]);
    expect(client.sends).toEqual([]);
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'phone=+385911234567'],
    ['a buffer', Buffer.from('phone=+385911234567')],
    ['a function', () => PHONE],
    ['an object that inherits the field', Object.create({ phone: PHONE, pin: PIN })],
  ])('whose parsed body is %s has no fields', async (_what, body) => {
    const client = fakeClient();
    const host = createHost(client, {
      parsers: [
        (req, _res, next) => {
          req.body = body;
          next();
        },
      ],
    });
    const { status, body: answer } = await host.browser().issue();
    expect([status, answer.outcome.code]).toEqual([400, 'phone_missing']);
    expect(client.sends).toEqual([]);
  });

  it('of 10 MB is refused, by the parser or by us, and the next visitor is served', async () => {
    const refusedByParser = fakeClient();
    const small = createHost(refusedByParser);
    const tooLarge = await small.browser().post('/login', `phone=${'9'.repeat(LARGE)}`);
    expect(tooLarge.status).toBe(413);
    expect((await small.browser().issue()).status).toBe(202);

    const client = fakeClient();
    const host = createHost(client, { parsers: [express.urlencoded(), express.json({ limit: '20mb' })] });
    const browser = host.browser();
    const large = (path: string, field: string, filler: string) =>
      browser.agent
        .post(path)
        .set('Content-Type', JSON_TYPE)
        .send(`{"${field}":"${filler.repeat(LARGE / Buffer.byteLength(filler))}"}`);
    for (const filler of ['9', ' ', '-', '(', '\u0664', '+']) {
      const { status, body } = await large('/login', 'phone', filler);
      expect([filler, status, body.outcome.code]).toEqual([filler, 400, 'phone_invalid']);
    }
    await browser.issue();
    for (const filler of ['9', ' ', '-', '\u0664']) {
      const { status, body } = await large('/login/pin', 'pin', filler);
      expect([filler, status, body.outcome.code]).toEqual([filler, 400, 'pin_malformed']);
    }
    expect([client.sends.length, client.checks]).toEqual([1, []]);
    expect((await browser.check()).status).toBe(200);
  });

  it('that its parser refuses never gets to the strategy', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();
    const broken = await browser.agent.post('/login').set('Content-Type', JSON_TYPE).send('{"phone":');
    const charset = await browser.agent
      .post('/login')
      .set('Content-Type', `${FORM}; charset=x`)
      .send('phone=1');
    expect([broken.status, charset.status]).toEqual([400, 415]);
    expect(host.actions).toEqual([]);
    expect((await browser.issue()).status).toBe(202);
  });

  it('with a channel that does not exist or is not served sends nothing', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();
    const channels = [
      'channel=fax',
      'channel=voice',
      'channel=email',
      'channel[]=sms',
      'channel=SMS',
      'channel[x]=sms',
    ];
    for (const channel of channels) {
      const { status, body } = await browser.post('/login', `phone=%2B385911234567&${channel}`);
      expect([channel, status, body.outcome.code]).toEqual([channel, 400, 'channel_not_allowed']);
      expect(body.outcome.channels).toEqual(['sms']);
    }
    expect(client.sends).toEqual([]);
    await browser.issue();
    for (const channel of channels) {
      const { status, body } = await browser.post('/login/resend', channel);
      expect([channel, status, body.outcome.code]).toEqual([channel, 400, 'channel_not_allowed']);
    }
    expect(client.resends).toEqual([]);
    expect((await browser.post('/login', 'phone=%2B385911234567&channel=')).status).toBe(202);
  });

  it('finds no challenge under the names that every object has', async () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty', '__defineGetter__']) {
      const client = fakeClient();
      const host = createHost(client, { strategy: { name } });
      const browser = host.browser();
      await browser.get('/me');
      const { status, body } = await browser.check();
      expect([name, status, body.outcome.code]).toEqual([name, 401, 'no_challenge']);
      expect((await browser.get('/challenge')).body).toBeNull();
      await browser.issue();
      expect((await browser.get('/challenge')).body).toMatchObject({ attemptsRemaining: 5 });
      expect((await browser.check()).body.user.phoneNumber).toBe(PHONE);
    }
    expect(await openChallenge({ headers: {}, session: {} }, { name: '__proto__' })).toBeNull();
  });

  it('whose session holds nonsense has no challenge', async () => {
    const client = fakeClient();
    let nonsense: unknown;
    const host = createHost(client, {
      routes(app) {
        app.use((req, _res, next) => {
          if (nonsense !== undefined) Reflect.set(req.session, 'smsOtp', nonsense);
          next();
        });
      },
    });
    for (const smsOtp of [
      null,
      7,
      'text',
      [],
      { challenges: null },
      { challenges: 'text' },
      { challenges: [] },
      { challenges: { 'sms-otp': null } },
      { challenges: { 'sms-otp': true } },
      { challenges: { 'sms-otp': {} } },
      { challenges: { 'sms-otp': { id: 'x', pinId: 'y', channel: 'sms' } } },
    ]) {
      nonsense = smsOtp;
      const browser = host.browser();
      const { status, body } = await browser.check();
      expect([status, body.outcome?.code]).toEqual([401, 'no_challenge']);
      expect((await browser.get('/challenge')).body).toBeNull();
    }
    expect(client.checks).toEqual([]);
  });

  it('is read from the body only, never from the address', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const browser = host.browser();
    const { body } = await browser.post(`/login?phone=${encodeURIComponent(PHONE)}`);
    expect(body.outcome.code).toBe('phone_missing');
    await browser.issue();
    expect((await browser.post(`/login/pin?pin=${PIN}`)).body.outcome.code).toBe('pin_missing');
    expect([client.sends.length, client.checks]).toEqual([1, []]);
  });

  it('from a program that is no browser is served like any other', async () => {
    const client = fakeClient();
    const host = createHost(client);
    const { status } = await request(host.app).post('/login').type('form').send({ phone: PHONE });
    expect(status).toBe(202);
  });
});
