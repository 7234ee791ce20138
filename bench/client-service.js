/** A service that says yes to every check, for bench/client.js. */

import { createServer } from 'node:http';

const answer = JSON.stringify({
  pinId: '0123456789ABCDEF',
  msisdn: '385911234567',
  verified: true,
  attemptsRemaining: 0,
});
const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(answer) };

const server = createServer((req, res) => {
  req.resume().on('end', () => res.writeHead(200, headers).end(answer));
});
server.listen(0, '127.0.0.1', () => process.send({ url: `http://127.0.0.1:${server.address().port}` }));
