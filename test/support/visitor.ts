/** A browser without scripts: keeps cookies, follows what it is told to, posts the forms of the page it is on. */

export interface Page {
  status: number;
  headers: Headers;
  /** The path of the redirect, if it is one. */
  location: string | null;
  html: string;
}

export class Visitor {
  readonly origin: string;
  readonly cookies = new Map<string, string>();
  /** The token in the forms of the page that was seen last. */
  csrfToken = '';

  constructor(origin: string) {
    this.origin = origin;
  }

  /** The same cookies in another window: what one does the other does not see. */
  clone(): Visitor {
    const copy = new Visitor(this.origin);
    for (const [name, value] of this.cookies) copy.cookies.set(name, value);
    copy.csrfToken = this.csrfToken;
    return copy;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Page> {
    return this.request(path, { headers });
  }

  /** Posts a form of this site, with its token unless the fields say otherwise. */
  post(path: string, fields: Record<string, string>, headers: Record<string, string> = {}): Promise<Page> {
    return this.request(path, {
      method: 'POST',
      headers: { 'sec-fetch-site': 'same-origin', ...headers },
      body: new URLSearchParams({ _csrf: this.csrfToken, ...fields }),
    });
  }

  /** Any request at all. */
  async request(path: string, init: RequestInit): Promise<Page> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(this.origin + path, {
      ...init,
      redirect: 'manual',
      headers: { ...Object.fromEntries(new Headers(init.headers)), ...(cookie && { cookie }) },
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';', 1);
      const at = pair.indexOf('=');
      this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const html = await response.text();
    this.csrfToken = /name="_csrf" value="([^"]+)"/.exec(html)?.[1] ?? this.csrfToken;
    return {
      status: response.status,
      headers: response.headers,
      location: response.headers.get('location'),
      html,
    };
  }

  /** Opens the login and asks for a PIN. */
  async askForPin(phone: string): Promise<Page> {
    await this.get('/login');
    return this.post('/login', { phone });
  }

  /** Opens the page for the PIN and types it. */
  async typePin(pin: string): Promise<Page> {
    await this.get('/login/pin');
    return this.post('/login/pin', { pin });
  }
}

/** The text of the alerts on a page, each with the id of the field that it describes. */
export function alertsOn(html: string): { text: string; field: string | undefined }[] {
  return [...html.matchAll(/<p[^>]*?(?: id="([^"]+)")? role="alert"[^>]*>([^<]*)<\/p>/g)].map(
    ([, id = '', text = '']) => ({
      text: text.replaceAll('&#39;', "'"),
      field: new RegExp(`<(?:input|button)[^>]*aria-describedby="[^"]*\\b${id}\\b`)
        .exec(html)?.[0]
        .match(/ id="([^"]+)"/)?.[1],
    }),
  );
}

/** The attribute of the first element that a pattern finds. */
export function attribute(html: string, element: RegExp, name: string): string | undefined {
  const tag = new RegExp(`<[^>]*${element.source}[^>]*>`).exec(html)?.[0] ?? '';
  return new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1];
}
