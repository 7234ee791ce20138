import { createServer, type RequestListener, type Server } from 'node:http';
import { openDatabase, sweepRegularly } from './database.js';
import { createLog } from './log.js';
import { connectPinService } from './pin-service.js';
import { keptSessionSecret } from './secrets.js';
import { readSettings, type Settings } from './settings.js';
import { createSite, type SiteOptions } from './site.js';
import { reasonOf, StartupError } from './startup-error.js';

type Close = () => unknown;

/** Starts the site as the environment says, and ends it with the process's signals. */
export async function run(): Promise<void> {
  // Numbers and sessions are for the user that runs the site: so is every file that it makes.
  process.umask(0o077);
  const toClose: Close[] = [];
  const stop = async (exitCode: number) => {
    for (const close of toClose.reverse()) await close();
    process.exit(exitCode);
  };
  // A second signal ends the process at once, as it does by default.
  process.once('SIGINT', () => stop(0)).once('SIGTERM', () => stop(0));

  try {
    await start(toClose);
  } catch (error) {
    console.error(error instanceof StartupError ? error.message : error);
    await stop(1);
  }
}

/** Opens one thing after the other, and notes how each is closed. */
async function start(toClose: Close[]): Promise<void> {
  const settings = readSettings(process.env);
  const log = createLog();

  const database = openDatabase(settings.dataFolder);
  toClose.push(() => database.close());
  const sessionSecret = settings.sessionSecret ?? keptSessionSecret(settings.dataFolder);
  toClose.push(sweepRegularly(database, (error) => log.error(error, 'Old sessions could not be deleted')));

  const service = await connectPinService(settings, log);
  toClose.push(() => service.close());

  const server = await listen(siteFrom({ settings, sessionSecret, service, database, log }), settings);
  toClose.push(() => closeServer(server));

  console.log(`The site:  ${addressOf(server)}`);
  if (service.phone !== undefined)
    console.log(`The phone: ${service.phone}  (the site's messages arrive here)`);
}

function siteFrom(options: SiteOptions): RequestListener {
  try {
    return createSite(options);
  } catch (error) {
    // Of the strategy's options the countries alone come from outside: its sentence is for whoever set them.
    if (!(error instanceof TypeError && error.message.includes('option `countries`'))) throw error;
    throw new StartupError(`SMS_COUNTRIES cannot be used. ${error.message}`);
  }
}

function listen(site: RequestListener, { host, port }: Settings): Promise<Server> {
  const server = createServer({ requestTimeout: 30_000 }, site);
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(new StartupError(whyNotListening(reasonOf(error), host, port))));
    server.listen(port, host, () => resolve(server));
  });
}

function whyNotListening(reason: string, host: string, port: number): string {
  switch (reason) {
    case 'EADDRINUSE':
      return `PORT ${port} is taken: end what runs there, or set PORT to another number.`;
    case 'EACCES':
      return `PORT ${port} is not ours to use: set PORT to a number above 1023.`;
    default:
      return `HOST ${host} cannot be listened on (${reason}): set HOST to an address of this machine.`;
  }
}

/** Lets the requests that are being answered finish, for a second. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    setTimeout(() => server.closeAllConnections(), 1000).unref();
  });
}

function addressOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') return String(address);
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}
