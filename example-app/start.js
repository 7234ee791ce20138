// Starts the site: checks what it needs, builds what is out of date, runs it. Any Node can read this file, so that
// one that is too old gets a sentence and not a syntax error: hence no import, no await, no trailing comma.

const version = process.versions.node.split('.').map(Number);
const tooOld = `This needs Node 20.19 or newer, and this is Node ${process.versions.node}: install a newer one.`;

if (version[0] < 20 || (version[0] === 20 && version[1] < 19)) {
  console.error(tooOld);
  process.exitCode = 1;
} else {
  // Node 20.19 lends its modules to any kind of file.
  process.getBuiltinModule('node:module').createRequire(process.argv[1])('./build-and-run.cjs');
}
