import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';
import type { Request, Response } from 'express';
import { csrfToken } from './csrf.js';

const eta = new Eta({ views: fileURLToPath(new URL('../views', import.meta.url)), cache: true });

type View = 'home' | 'login' | 'pin' | 'account' | 'problem';

/** Renders a page of `views/` inside the layout. */
export function show(req: Request, res: Response, status: number, view: View, data: object = {}): void {
  const page = eta.render(view, {
    ...data,
    view,
    user: req.user,
    nonce: res.locals.nonce,
    // Asked for by pages with a form only: others make no session.
    csrfToken: () => csrfToken(req),
  });
  // What a page says is out of date when it is seen again, and nobody else's business.
  res.status(status).set('Cache-Control', 'no-store').type('html').send(page);
}
