const { spawn } = require('node:child_process');
const { chmodSync, existsSync, readdirSync, statSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

const here = __dirname;
const root = join(here, '..');

/** What is built, and what it is built from. */
const builds = [
  { made: join(root, 'dist/.tsbuildinfo'), from: [join(root, 'lib'), join(root, 'tsconfig.json')] },
  { made: join(here, 'dist/.tsbuildinfo'), from: [join(here, 'src'), join(here, 'tsconfig.json')] },
];

function newest(path) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(...readdirSync(path).map((name) => newest(join(path, name))));
}

function isFresh({ made, from }) {
  return existsSync(made) && Math.max(...from.map(newest)) <= statSync(made).mtimeMs;
}

function has(name) {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** Runs the compiler, and resolves when all is well. A signal meanwhile ends both, as it ends the site later. */
function build() {
  console.log('Building ...');
  const compiler = spawn(
    process.execPath,
    [require.resolve('typescript/bin/tsc'), '-b', 'tsconfig.json', 'example-app'],
    {
      cwd: root,
      stdio: 'inherit',
    },
  );
  const stop = () => {
    compiler.kill();
    process.exit(0);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return new Promise((resolve, reject) => {
    compiler.on('error', reject);
    compiler.on('exit', (code) => {
      process.off('SIGINT', stop).off('SIGTERM', stop);
      if (code === 0) resolve();
      else reject(new Error('The site could not be built: mend what the compiler complains about above.'));
    });
  });
}

/**
 * Under `npm start` a shell stands between npm and the site, and keeps a signal that is meant for the site to
 * itself: when the shell is gone, the site ends too.
 */
function endWithNpm() {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM');
  }, 500).unref();
}

async function start() {
  if (process.env.npm_lifecycle_event !== undefined) endWithNpm();

  if (!['typescript', 'express', 'libsql', 'pino'].every(has)) {
    throw new Error('The site needs the development dependencies: run `npm ci` first, without --omit=dev.');
  }
  if (builds.every(isFresh)) return;
  await build();
  // npm makes it executable where it links it, but npx remembers the link of an earlier clone in this folder.
  chmodSync(join(root, 'dist/cli/index.js'), 0o755);
}

start().then(
  () => import(pathToFileURL(join(here, 'dist/server.js'))).then(({ run }) => run()),
  (error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
);
