/** The example site in this process, on a port of its own, with its data in a folder of its own. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OtpClient } from 'passport-sms-otp';
import { type Database, openDatabase } from '../../example-app/src/database.js';
import { createLog } from '../../example-app/src/log.js';
import type { Settings } from '../../example-app/src/settings.js';
import { createSite } from '../../example-app/src/site.js';
import { Visitor } from '../support/visitor.js';

export interface TestSite {
  url: string;
  database: Database;
  /** What the site has logged, line by line. */
  logged: Record<string, unknown>[];
  visitor(): Visitor;
  close(): Promise<void>;
}

export async function startTestSite(
  client: OtpClient,
  settings: Partial<Settings> & { applicationId?: string; messageId?: string } = {},
): Promise<TestSite> {
  const folder = mkdtempSync(join(tmpdir(), 'site-'));
  const database = openDatabase(folder);
  const logged: Record<string, unknown>[] = [];
  const {
    applicationId = 'APP',
    messageId = 'MSG',
    sessionSecret = 'a secret for tests, long enough for all',
    ...given
  } = settings;
  const site = createSite({
    settings: { countries: 'all', publicUrl: undefined, trustProxy: false, ...given },
    sessionSecret,
    service: { client, applicationId, messageId },
    database,
    log: createLog({ write: (line) => logged.push(JSON.parse(line)) }),
  });
  const server = createServer(site);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    database,
    logged,
    visitor: () => new Visitor(url),
    async close() {
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
      database.close();
      rmSync(folder, { recursive: true });
    },
  };
}
