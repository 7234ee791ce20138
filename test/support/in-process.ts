/** Many visitors without a server between them: real Passport and a real strategy, sessions that live in an object. */

import passport from 'passport';
import {
  type OtpClient,
  type SmsOtpEvent,
  SmsOtpStrategy,
  type SmsOtpStrategyOptions,
} from 'passport-sms-otp';
import type { LooseOptions } from './host.js';

/** How a request ended: `logged in`, an outcome's code, or the budget that refused. */
export type End = string;

export interface Crowd {
  events: SmsOtpEvent[];
  visitor(address: string, known?: string): CrowdVisitor;
}

export interface CrowdVisitor {
  issue(phone: string): Promise<End>;
  resend(): Promise<End>;
  check(pin: string): Promise<End>;
}

export function createCrowd(client: OtpClient, options: LooseOptions): Crowd {
  const events: SmsOtpEvent[] = [];
  const own = new passport.Passport();
  const strategy = new SmsOtpStrategy(
    {
      client,
      applicationId: 'APP',
      messageId: 'MSG',
      countries: 'all',
      clientKey: ({ headers }: { headers: Record<string, unknown> }) => String(headers.address),
      onEvent: (event: SmsOtpEvent) => events.push(event),
      ...options,
    } as SmsOtpStrategyOptions,
    async ({ phoneNumber }) => ({ phoneNumber }),
  );
  own.use(strategy);

  function visitor(address: string, known?: string): CrowdVisitor {
    const done = (callback?: (error?: unknown) => void) => callback?.();
    const session = { save: done, regenerate: done };
    const ask = (phase: string, body: object) =>
      new Promise<End>((resolve, reject) => {
        const headers = { address, known, 'sec-fetch-site': 'same-origin' };
        const req = { method: 'POST', headers, body, session, sessionStore: {} };
        const middleware = own.authenticate(
          strategy.name,
          { phase } as object,
          (error: unknown, user: unknown, info: { code?: string; budget?: string } = {}) => {
            if (error) reject(error);
            else resolve(user ? 'logged in' : (info.budget ?? String(info.code)));
          },
        );
        middleware(req, {}, reject);
      });
    return {
      issue: (phone) => ask('issue', { phone }),
      resend: () => ask('resend', {}),
      check: (pin) => ask('check', { pin }),
    };
  }

  return { events, visitor };
}
