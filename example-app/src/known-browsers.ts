import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Response } from 'express';
import type { RequestLike } from 'passport-sms-otp';
import type { User, Users } from './users.js';

const lifetimeMs = 180 * 86_400_000;

export interface KnownBrowsers {
  /** Gives the browser of somebody who has just logged in a cookie that lasts for half a year, also after the logout. */
  remember(res: Response, user: User): void;
  /** Whether a cookie says that somebody proved this number in this browser, and the number is still theirs. */
  isKnown(req: Pick<RequestLike, 'headers'>, recipient: { phoneNumber?: string }): boolean;
}

/**
 * Browsers in which a number was proved before: what strangers do to the number does not stop its owner there. The
 * cookie opens nothing, and the site keeps no record of it: it names the user, and its signature the number, too.
 */
export function createKnownBrowsers({
  secret,
  https,
  users,
}: {
  secret: string;
  https: boolean;
  users: Users;
}): KnownBrowsers {
  // With the prefix, no other site of the same domain can set it.
  const name = https ? '__Host-skerry-known' : 'skerry-known';
  const sign = (userId: string, phoneNumber: string, until: number) =>
    createHmac('sha256', secret)
      // A list as JSON: no two lists make the same text.
      .update(JSON.stringify([userId, phoneNumber, until]))
      .digest();

  return {
    remember(res, { id, phoneNumber }) {
      const until = Date.now() + lifetimeMs;
      const value = [id, until, sign(id, phoneNumber, until).toString('base64url')].join('.');
      res.cookie(name, value, {
        httpOnly: true,
        sameSite: 'lax',
        secure: https,
        path: '/',
        maxAge: lifetimeMs,
      });
    },
    isKnown(req, { phoneNumber = '' }) {
      const [userId = '', until = '', signature = ''] = cookie(req, name).split('.');
      const given = Buffer.from(signature, 'base64url');
      const signed = sign(userId, phoneNumber, Number(until));
      if (given.length !== signed.length || !timingSafeEqual(given, signed)) return false;
      return Date.now() < Number(until) && users.find(userId)?.phoneNumber === phoneNumber;
    },
  };
}

function cookie({ headers }: Pick<RequestLike, 'headers'>, name: string): string {
  const all = typeof headers.cookie === 'string' ? headers.cookie.split(/; */) : [];
  return all.find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
}
