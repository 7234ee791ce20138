/** A session that has lost its id: express-session is to see none, and the host the one that it was. */

import { describe, expect, it } from 'vitest';
import { attachSession, detachSession, emptySession, isDetached, sessionIdOf } from '../../lib/request.js';

function site(res: object = {}) {
  const seen: unknown[] = [];
  const req = { headers: {}, session: {}, sessionID: 'id' as string | undefined, res };
  const look = (...args: unknown[]) => {
    seen.push(req.sessionID);
    return args;
  };
  return { req, seen, look };
}

function withResponse() {
  const made = site({});
  const { req, look } = made;
  const res = Object.assign(req.res, {
    writeHead: look,
    end: (...args: unknown[]) => {
      res.writeHead(200);
      return look(...args);
    },
  });
  return { ...made, res };
}

describe('a session without its id', () => {
  it('has none while the response is written, and the same as before for everybody else', () => {
    const { req, res, seen } = withResponse();
    expect([isDetached(req), sessionIdOf(req)]).toEqual([false, 'id']);
    detachSession(req);
    detachSession(req);
    expect([isDetached(req), sessionIdOf(req), req.sessionID]).toEqual([true, undefined, 'id']);
    expect(res.writeHead(200)).toEqual([200]);
    expect(req.sessionID).toBe('id');
    expect(res.end('body', 'utf8')).toEqual(['body', 'utf8']);
    expect(seen).toEqual([undefined, undefined, undefined]);
    expect([isDetached(req), req.sessionID]).toEqual([true, 'id']);
  });

  it('keeps it for whoever comes after a response that throws', () => {
    const { req, res } = withResponse();
    res.writeHead = () => {
      throw new Error('sent already');
    };
    detachSession(req);
    expect(() => res.end()).toThrow('sent already');
    expect(req.sessionID).toBe('id');
  });

  it.each(['new', 'id'])('has one again where it gets one (%s), and loses that, too', (id) => {
    const { req, res, seen } = withResponse();
    detachSession(req);
    attachSession(req, id);
    expect([isDetached(req), sessionIdOf(req)]).toEqual([false, id]);
    res.writeHead(200);
    detachSession(req);
    res.writeHead(200);
    expect(seen).toEqual([id, undefined]);
    expect(req.sessionID).toBe(id);
  });

  it('has the one that it gets while the response is written', () => {
    const { req, res } = withResponse();
    res.writeHead = (...args) => {
      req.sessionID = 'made meanwhile';
      return args;
    };
    detachSession(req);
    res.end();
    expect([isDetached(req), req.sessionID]).toEqual([false, 'made meanwhile']);
  });

  it.each([[undefined], [null], [{}], [{ end() {} }], [{ writeHead() {} }]])(
    'has none at all where there is no response to watch (%j)',
    (res) => {
      const { req } = site(res as never);
      emptySession(req);
      expect(req).toMatchObject({ session: null, sessionID: undefined });
      expect(isDetached(req)).toBe(true);
      emptySession(req);
      expect(isDetached(req)).toBe(true);
    },
  );

  it.each(['before', 'after'])(
    'is left empty, or not at all, where the host fails %s there is one',
    (when) => {
      const { req, res, seen } = withResponse();
      const generate = () => {
        if (when === 'after') Object.assign(req, { session: { cookie: {} }, sessionID: 'new' });
        throw new Error('genid failed');
      };
      Object.assign(req, { sessionStore: { generate } });
      emptySession(req);
      expect(req.session).toEqual(when === 'after' ? { cookie: {} } : null);
      expect(isDetached(req)).toBe(true);
      res.end();
      expect(seen).toEqual([undefined, undefined]);
    },
  );

  it('is none where there was never one', () => {
    const req = { headers: {} };
    detachSession(req);
    expect([isDetached(req), req]).toEqual([false, { headers: {} }]);
  });
});
