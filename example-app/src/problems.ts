import { STATUS_CODES } from 'node:http';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { show } from './views.js';

/** A request that the site refuses, by its HTTP status. */
export class HttpProblem extends Error {
  readonly status: number;

  constructor(status: number) {
    super(STATUS_CODES[status] ?? 'Refused');
    this.name = 'HttpProblem';
    this.status = status;
  }
}

interface Page {
  status: number;
  title: string;
  text: string;
  link: { href: string; text: string };
}

const home = { href: '/', text: 'To the first page' };
const login = { href: '/login', text: 'To the login' };

const notUnderstood = { title: 'We did not understand that', text: 'Please use the forms on our pages.' };

const refusals: Record<number, Pick<Page, 'title' | 'text'>> = {
  404: { title: 'There is no such page', text: 'The address leads nowhere.' },
  405: { title: 'This needs a form', text: 'This address only takes what the forms on our pages send.' },
  413: { title: 'That was too much', text: 'Our forms are short. Please use them as they are.' },
  415: { title: 'We read forms only', text: 'Please send the fields as a form, as our pages do.' },
};

/** For a request of another method than the address is made for. */
export function onlyMethod(method: 'GET' | 'POST'): RequestHandler {
  return (_req, res, next) => {
    res.set('Allow', method === 'GET' ? 'GET, HEAD' : method);
    next(new HttpProblem(405));
  };
}

export const notFound: RequestHandler = (_req, _res, next) => next(new HttpProblem(404));

/** The page for everything that went wrong: what happened, in the visitor's words, and what to do. */
export const showProblem: ErrorRequestHandler = (error, req, res, next) => {
  const { status, ...page } = pageFor(error, req.path);
  // The request's line in the log says what happened.
  if (status >= 500) res.err = error instanceof Error ? error : new Error(String(error));
  if (res.headersSent) {
    next(error);
    return;
  }
  if (status === 503) res.set('Retry-After', '60');
  show(req, res, status, 'problem', page);
};

function pageFor(error: unknown, path: string): Page {
  const { code, status } = detailsOf(error);

  if (code?.startsWith('ERR_INFOBIP_') || code === 'ERR_SMS_OTP_SERVICE') {
    return { status: meansOutage(code) ? 503 : 502, ...serviceFailed(path) };
  }
  if (code === 'EBADCSRFTOKEN') {
    return {
      status: 403,
      title: 'This page was open for too long',
      text: 'Its form is no longer valid, and nothing was done. Please open the page again and send the form once more.',
      link: path.startsWith('/login') ? login : home,
    };
  }
  if (status !== undefined && status >= 400 && status < 500) {
    return { status, ...(refusals[status] ?? notUnderstood), link: home };
  }
  return {
    status: status === 503 ? 503 : 500,
    title: 'Something broke on our side',
    text: 'We have noted what happened. Please try again in a minute.',
    link: home,
  };
}

/** What the visitor can do when the service that makes the PINs fails. It never helps to send another one at once. */
function serviceFailed(path: string): Omit<Page, 'status'> {
  if (path === '/login/pin') {
    return {
      title: 'We could not check your PIN',
      text: 'It may still be good. Wait a minute, then type it once more: you need no new message.',
      link: { href: '/login/pin', text: 'Back to the PIN' },
    };
  }
  if (path === '/login/resend') {
    return {
      title: 'We could not send the PIN again',
      text: 'If a message comes after all, its PIN is good. Otherwise wait a minute, then have it sent again.',
      link: { href: '/login/pin', text: 'Back to the PIN' },
    };
  }
  return {
    title: 'We could not send a PIN',
    text: 'No PIN is open for you now. Wait a minute, then type your number again; a message that comes after all can be ignored.',
    link: login,
  };
}

/** Down, slow or busy, as opposed to a service that will not have us or that we do not understand. */
function meansOutage(code: string): boolean {
  return /_(UNREACHABLE|TIMEOUT|UNAVAILABLE|RATE_LIMITED)$/.test(code);
}

function detailsOf(error: unknown): { code: string | undefined; status: number | undefined } {
  const field = (name: string): unknown =>
    typeof error === 'object' && error !== null ? Reflect.get(error, name) : undefined;
  const [code, status] = [field('code'), field('status')];
  return {
    code: typeof code === 'string' ? code : undefined,
    status: typeof status === 'number' ? status : undefined,
  };
}
