/** A stand-in of the PIN service that answers after `median` milliseconds, more or less, as services do. */

import { createServer } from 'node:http';

const [median] = process.argv.slice(2).map(Number);

// Most answers lie close together, a few take far longer (log-normal, and one in thirty waits behind something).
function delay() {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return median * Math.exp(0.15 * normal) * (Math.random() < 1 / 30 ? 1.5 + Math.random() : 1);
}

let made = 0;
const server = createServer((req, res) => {
  req.resume();
  req.on('end', () => {
    made += 1;
    const [, pinId] = /\/pin\/([^/]+)\/(?:verify|resend)/.exec(req.url) ?? [];
    const answer = req.url.includes('/verify')
      ? { pinId, msisdn: '385911234567', verified: false, attemptsRemaining: 4, pinError: 'WRONG_PIN' }
      : { pinId: pinId ?? `PIN${made}`, to: '385911234567', smsStatus: 'MESSAGE_SENT' };
    setTimeout(() => res.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer)), delay());
  });
});
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('disconnect', () => process.exit());
