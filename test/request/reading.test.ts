/** A request as it comes from Express, Connect, Koa, Fastify or HTTP/2, read with nothing around it. */

import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  bodyField,
  clientAddress,
  cookieSessionIds,
  header,
  isNewSession,
  isPost,
  isSameSite,
  isSessionUser,
  localPath,
  originOf,
  property,
  type RequestLike,
  signedInAs,
} from '../../lib/request.js';

const request = (more: object = {}): RequestLike => ({ headers: {}, ...more });

describe('a property', () => {
  it('is read of objects and functions, inherited ones too, and is undefined elsewhere', () => {
    const get = Object.assign(() => undefined, { fn: 1 });
    expect(property({ a: 1 }, 'a')).toBe(1);
    expect(property(get, 'fn')).toBe(1);
    expect(property(Object.create({ a: 2 }), 'a')).toBe(2);
    for (const nothing of [null, undefined, 'text', 5, true]) {
      expect(property(nothing, 'length')).toBeUndefined();
      expect(property(nothing, 'toString')).toBeUndefined();
    }
  });
});

describe('a field of the form', () => {
  it('is the body’s own', () => {
    expect(bodyField(request({ body: { pin: '1' } }), 'pin')).toBe('1');
    expect(bodyField(request({ body: Object.create({ pin: '1' }) }), 'pin')).toBeUndefined();
    expect(bodyField(request({ body: {} }), 'toString')).toBeUndefined();
    expect(bodyField(request({ body: Object.assign(Object.create(null), { pin: '2' }) }), 'pin')).toBe('2');
  });

  it.each([undefined, null, 'pin', 5, true, () => undefined])('is not there in the body %s', (body) => {
    expect(bodyField(request({ body }), 'length')).toBeUndefined();
  });
});

describe('a request', () => {
  it.each([
    [{ method: 'POST' }, true],
    [{ method: 'POST', originalMethod: 'POST' }, true],
    [{ method: 'POST', originalMethod: 'GET' }, false],
    [{ method: 'GET', originalMethod: 'POST' }, false],
    [{ method: 'GET' }, false],
    [{ method: 'post' }, false],
    [{}, false],
  ])('%j is a POST: %s', (more, is) => {
    expect(isPost(request(more))).toBe(is);
  });

  it('has headers as one string, repeated ones with all their values', () => {
    const req = request({ headers: { one: 'a', two: ['a', 'b'] } });
    expect(header(req, 'one')).toBe('a');
    expect(header(req, 'two')).toBe('a, b');
    expect(header(req, 'none')).toBeUndefined();
  });
});

describe('an origin', () => {
  it.each([
    ['https://Example.com', 'https://example.com'],
    ['https://example.com:443/path', 'https://example.com'],
    ['http://example.com:3000', 'http://example.com:3000'],
    ['null', undefined],
    ['data:text/html,hello', undefined],
    ['not a url', undefined],
    [`https://example.com/${'a'.repeat(280)}`, 'https://example.com'],
    [`https://example.com/${'a'.repeat(281)}`, undefined],
    ['', undefined],
    [undefined, undefined],
  ])('of %s is %s', (url, origin) => {
    expect(originOf(url)).toBe(origin);
  });
});

it('is a way back no longer than a session should keep for whoever asks', () => {
  expect(localPath(`/${'a'.repeat(1999)}`)).toHaveLength(2000);
  expect(localPath(`/${'a'.repeat(2000)}`)).toBeUndefined();
});

describe('whether a page of ours sent the request', () => {
  const trusted = new Set(['https://other.example']);
  const sameSite = (more: object, headers: object) => isSameSite(request({ ...more, headers }), trusted);
  const origin = 'https://example.com';

  it.each([
    ['same-origin', undefined, true],
    ['none', undefined, true],
    ['none', 'https://evil.example', false],
    ['none', 'null', false],
    ['same-site', undefined, false],
    ['cross-site', undefined, false],
    ['', undefined, false],
    ['cross-site', 'https://other.example', true],
    ['cross-site', 'https://OTHER.example:443', true],
    ['same-site', 'https://evil.example', false],
    ['same-site', 'null', false],
  ])('is told by fetch metadata %s with the origin %s: %s', (site, from, is) => {
    const headers = { 'sec-fetch-site': site, ...(from !== undefined && { origin: from }) };
    expect(sameSite({}, { host: 'example.com', ...headers })).toBe(is);
  });

  it('is decided by fetch metadata even where the origin is our own', () => {
    const headers = { 'sec-fetch-site': 'cross-site', origin, host: 'example.com' };
    expect(sameSite({ protocol: 'https' }, headers)).toBe(false);
  });

  it('is so where no browser says anything', () => {
    expect(sameSite({}, { host: 'example.com' })).toBe(true);
  });

  it.each(['null', 'nonsense', 'https://example.com, https://evil.example'])('is not so from %s', (from) => {
    expect(sameSite({}, { origin: from, host: 'example.com' })).toBe(false);
  });

  it('compares the origin with the address that was asked for', () => {
    expect(sameSite({ protocol: 'https' }, { origin, host: 'example.com' })).toBe(true);
    expect(sameSite({ protocol: 'https' }, { origin, host: 'example.com:443' })).toBe(true);
    expect(sameSite({ protocol: 'https' }, { origin, host: 'example.com:444' })).toBe(false);
    expect(sameSite({ protocol: 'https' }, { origin: 'http://example.com', host: 'example.com' })).toBe(
      false,
    );
    expect(sameSite({ protocol: 'http' }, { origin: 'http://example.com', host: 'example.com' })).toBe(true);
    expect(sameSite({ protocol: 'http' }, { origin: 'https://evil.example', host: 'example.com' })).toBe(
      false,
    );
    expect(sameSite({}, { origin: 'https://other.example', host: 'example.com' })).toBe(true);
  });

  it('takes https for http behind a proxy that is not trusted yet', () => {
    expect(sameSite({ protocol: 'http' }, { origin, host: 'example.com' })).toBe(true);
  });

  it('knows the protocol by the socket where the framework says nothing', () => {
    const plain = { origin: 'http://example.com', host: 'example.com' };
    expect(sameSite({}, plain)).toBe(true);
    expect(sameSite({ socket: { encrypted: false } }, plain)).toBe(true);
    expect(sameSite({ socket: { encrypted: true } }, plain)).toBe(false);
    expect(sameSite({ socket: { encrypted: true } }, { origin, host: 'example.com' })).toBe(true);
  });

  it('finds the host where each framework has it', () => {
    expect(sameSite({ host: 'example.com' }, { origin, host: 'inner.example' })).toBe(true);
    expect(sameSite({ host: 5 }, { origin, host: 'example.com' })).toBe(true);
    expect(sameSite({}, { origin, ':authority': 'example.com' })).toBe(true);
    // Koa and Fastify have an app without Express's settings.
    expect(sameSite({ app: {}, host: 'example.com' }, { origin, host: 'inner.example' })).toBe(true);
    const noSettings = { get: () => undefined };
    expect(sameSite({ app: noSettings, host: 'example.com' }, { origin, host: 'inner.example' })).toBe(true);
  });

  it('trusts nobody but the list where there is no host at all', () => {
    expect(sameSite({}, { origin })).toBe(false);
    expect(sameSite({}, { origin: 'https://undefined' })).toBe(false);
    expect(sameSite({}, { origin: 'https://other.example' })).toBe(true);
  });

  describe('behind a proxy, with Express', () => {
    const express = (trust: unknown) => ({
      app: { get: (name: string) => (name === 'trust proxy fn' ? trust : undefined) },
      host: 'wrong.example',
      socket: { remoteAddress: '10.0.0.1' },
    });
    const headers = { origin, host: 'inner.example', 'x-forwarded-host': ' example.com , second.example' };

    it('takes the first forwarded host from a proxy that is trusted', () => {
      const asked: unknown[][] = [];
      const trust = (...args: unknown[]) => asked.push(args) > 0;
      expect(sameSite(express(trust), headers)).toBe(true);
      expect(asked).toEqual([['10.0.0.1', 0]]);
      expect(
        sameSite(
          express(() => true),
          { ...headers, origin: 'https://inner.example' },
        ),
      ).toBe(false);
    });

    it.each([() => false, () => 'yes', 'no function'])('takes the host itself when trust is %s', (trust) => {
      expect(sameSite(express(trust), headers)).toBe(false);
      expect(sameSite(express(trust), { ...headers, origin: 'https://inner.example' })).toBe(true);
    });

    it('takes the host itself where nothing was forwarded', () => {
      const { 'x-forwarded-host': _, ...direct } = headers;
      expect(
        sameSite(
          express(() => true),
          { ...direct, origin: 'https://inner.example' },
        ),
      ).toBe(true);
      const empty = { ...direct, 'x-forwarded-host': ',', origin: 'https://inner.example' };
      expect(
        sameSite(
          express(() => true),
          empty,
        ),
      ).toBe(true);
    });
  });
});

describe('who is signed in', () => {
  it('is what the serializer stored in the session, as JSON', () => {
    expect(signedInAs(request({ session: { passport: { user: 'u1' } } }))).toBe('"u1"');
    expect(signedInAs(request({ session: { passport: { user: { id: 1 } } } }))).toBe('{"id":1}');
    expect(signedInAs(request({ session: { passport: { user: 0 } } }))).toBe('0');
  });

  it.each([
    {},
    { session: null },
    { session: {} },
    { session: { passport: {} } },
    { session: { passport: { user: null } } },
    { session: { passport: { user: undefined } } },
    { user: { id: 'of this request' } },
  ])('is nobody in %j', (more) => {
    expect(signedInAs(request(more))).toBeUndefined();
  });

  it('is found under Passport’s own key', () => {
    const session = { passport: { user: 'wrong' }, admin: { user: 'right' } };
    expect(signedInAs(request({ session, _sessionManager: { _key: 'admin' } }))).toBe('"right"');
    expect(signedInAs(request({ session, _sessionManager: { _key: 5 } }))).toBe('"wrong"');
    expect(signedInAs(request({ session, _sessionManager: {} }))).toBe('"wrong"');
  });
});

describe('whether the user of the request is the session’s', () => {
  const session = { passport: { user: 'u1' } };
  const user = { id: 'u1' };

  function answers(more: object): boolean[] {
    const told: boolean[] = [];
    isSessionUser(request(more), (is) => told.push(is));
    return told;
  }

  const manager = (serialized: unknown, error: unknown = null) => ({
    _serializeUser(_user: unknown, _req: unknown, done: (error: unknown, id?: unknown) => void) {
      done(error, serialized);
    },
  });

  it.each([
    ['without a user', { session }, [false]],
    ['without a session', { user }, [false]],
    ['with a session of nobody', { user, session: { passport: {} } }, [false]],
    ['with a user that the host set', { user, session }, [true]],
    ['with the same user', { user, session, _sessionManager: manager('u1') }, [true]],
    ['with another user', { user, session, _sessionManager: manager('u2') }, [false]],
    ['with a user who cannot be stored', { user, session, _sessionManager: manager(undefined) }, [false]],
    ['with a serializer that fails', { user, session, _sessionManager: manager('u1', 'no') }, [false]],
    // Nothing stored and nothing serialized are no user, not the same one.
    ['with nobody and nothing', { user, session: {}, _sessionManager: manager(undefined) }, [false]],
  ])('is answered once %s', (_case, more, told) => {
    expect(answers(more)).toEqual(told);
  });

  it('is asked of the serializer with the user and the request', () => {
    const asked: unknown[] = [];
    const _sessionManager = {
      _serializeUser(this: unknown, ...args: unknown[]) {
        asked.push(this, ...args.slice(0, 2));
      },
    };
    const req = request({ user, session, _sessionManager });
    isSessionUser(req, () => undefined);
    expect(asked).toEqual([_sessionManager, user, req]);
  });
});

describe('whether a session is new', () => {
  it.each([
    ['no id', {}, true],
    ['an id and no cookie', { sessionID: 'abc' }, true],
    ['an id and another cookie', { sessionID: 'abc', headers: { cookie: 'sid=xyz' } }, true],
    ['its id in the cookie', { sessionID: 'abc', headers: { cookie: 'sid=s%3Aabc.sig' } }, false],
    [
      'its id in the cookie, encoded',
      { sessionID: 'a+/b', headers: { cookie: 'sid=s%3Aa%2B%2Fb.sig' } },
      false,
    ],
    [
      'its id in the cookie, every letter encoded',
      { sessionID: 'aé', headers: { cookie: 'sid=s%3a%61%C3%a9.s' } },
      false,
    ],
    ['its id in the cookie, as it is', { sessionID: 'a+/b', headers: { cookie: 'sid=a+/b' } }, false],
    [
      'its id in the cookie, encoded, and a name that cannot be decoded',
      { sessionID: 'a+/b', headers: { cookie: '%zz=s%3Aa%2B%2Fb.sig' } },
      false,
    ],
    [
      'an id that is in no cookie whole',
      { sessionID: 'a+b', headers: { cookie: 'sid=a; b=%2; c=Bb' } },
      true,
    ],
    ['an id that is no text', { sessionID: 5, headers: { cookie: 'sid=5' } }, true],
    ['an id of letters that a missing cookie is not made of', { sessionID: 'was' }, true],
  ])('with %s: %3$s', (_case, more, is) => {
    expect(isNewSession(request(more))).toBe(is);
  });
});

it('is found out without an error for each of thousands of cookies that cannot be decoded', () => {
  const decode = vi.spyOn(globalThis, 'decodeURIComponent');
  onTestFinished(() => decode.mockRestore());
  const req = request({ sessionID: 'abc', headers: { cookie: '%;'.repeat(7900) } });
  expect([isNewSession(req), cookieSessionIds(req)]).toEqual([true, []]);
  expect(decode.mock.results.filter(({ type }) => type === 'throw')).toEqual([]);
});

describe('the address of a client', () => {
  const of = (ip: unknown, more: object = {}) => clientAddress(request({ ip, ...more }));

  it.each([undefined, '', 5, null])('is unknown for %j', (ip) => {
    expect(of(ip)).toBeUndefined();
  });

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:8080', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['[::ffff:192.0.2.1]:8080', '192.0.2.1'],
    ['unix:', 'unix:'],
    ['x[::1]', 'x[::1]'],
    ['[::1]x', '[::1]x'],
    ['x1.2.3.4:80', 'x1.2.3.4:80'],
  ])('%s counts as %s', (ip, key) => {
    expect(of(ip)).toEqual({ family: 4, key });
  });

  it.each([
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::1', '2001:db8:1:2'],
    ['2001:0db8:0001:0002:0000::', '2001:db8:1:2'],
    ['[2001:db8:1:2::1]', '2001:db8:1:2'],
    ['[2001:db8:1:2::1]:443', '2001:db8:1:2'],
    ['2001:db8:1:2::1%eth0', '2001:db8:1:2'],
    ['fe80::1%lo', 'fe80:0:0:0'],
    ['2001:db8::5', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['1::', '1:0:0:0'],
    // A mapped address has zeros before the mark: this is a network like any other.
    ['1:0:0:0:0:ffff:c000:201', '1:0:0:0'],
  ])('%s counts as the network %s', (ip, key) => {
    expect(of(ip)).toEqual({ family: 6, key });
  });

  describe('that is a proxy’s own', () => {
    const forwarded = (ip: string, name = 'x-forwarded-for', more: object = {}) =>
      of(ip, { headers: { [name]: '203.0.113.5' }, ...more });

    it.each([
      '127.0.0.1',
      '127.255.0.1',
      '10.1.2.3',
      '192.168.0.7',
      '169.254.1.1',
      '172.16.0.1',
      '172.19.0.1',
      '172.20.0.1',
      '172.29.0.1',
      '172.30.0.1',
      '172.31.255.1',
      '::ffff:10.0.0.1',
      '::1',
      '::',
      'fc00::1',
      'fd12:3456::1',
      'fe80::1',
      'febf::1',
    ])('is told by a forwarding header that came from %s', (ip) => {
      expect(forwarded(ip)).toBe('proxy');
      expect(of(ip)).not.toBe('proxy');
    });

    it.each([
      '203.0.113.9',
      '110.0.0.1',
      '8.127.0.1',
      '1.10.0.1',
      '172.15.0.1',
      '172.32.0.1',
      '172.1.0.1',
      '172.2.0.1',
      '172.3.0.1',
      '172.161.0.1',
      '192.169.0.1',
      '169.253.0.1',
      '::2:0:0:1',
      '0:0:0:0:0:0:1:1',
      '2001:db8::1',
      'fb00::1',
      'fe00::1',
      'fec0::1',
      '::ffff:203.0.113.9',
    ])('is not what %s is', (ip) => {
      expect(forwarded(ip)).not.toBe('proxy');
    });

    it.each(['x-forwarded-for', 'forwarded', 'x-real-ip'])('is told by %s', (name) => {
      expect(forwarded('10.0.0.1', name)).toBe('proxy');
      expect(forwarded('10.0.0.1', `${name}-other`)).not.toBe('proxy');
    });

    it('is the peer’s, and not one that the framework took from the header', () => {
      const socket = { remoteAddress: '10.0.0.1' };
      expect(forwarded('10.0.0.1', 'x-forwarded-for', { socket })).toBe('proxy');
      expect(forwarded('10.0.0.2', 'x-forwarded-for', { socket })).toEqual({ family: 4, key: '10.0.0.2' });
      // The visitor has hung up, or the proxy comes by a socket that is a file.
      expect(forwarded('10.0.0.2', 'x-forwarded-for', { socket: {} })).toEqual({
        family: 4,
        key: '10.0.0.2',
      });
    });
  });
});

describe('what may be ids of sessions', () => {
  it.each([
    [undefined, []],
    ['theme=dark', []],
    ['connect.sid=s%3Aabc-_9.sig%2Bna%3D', ['abc-_9']],
    ['theme=dark; sid=s:one.sig; other=s:two.sig', ['one', 'two']],
    // A cookie's name is no value, a broken spelling is read as it is, and nothing is an id that ends nowhere.
    ['s:name.x=1; a=%E0%A4%A; b=s:one%.sig; c=s:unsigned; d=s:.sig', ['one%']],
    [`a=s:${'x'.repeat(200)}.sig; b=s:${'x'.repeat(201)}.sig`, ['x'.repeat(200)]],
    [`${'a=1;'.repeat(49)}b=s:last.sig; c=s:later.sig`, ['last']],
  ])('in the cookies %s', (cookie, ids) => {
    expect(cookieSessionIds(request({ headers: { cookie } }))).toEqual(ids);
  });
});
