// The smallest loop that serves a handler. The Node client of AWS does more, so the figures favor Node slightly.
const http = require('node:http');

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const call = (method, path, body) => new Promise((resolve, reject) => {
  const headers = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
  const request = http.request({ host, port, method, path: `/2018-06-01/runtime${path}`, agent, headers }, (response) => {
    const parts = [];
    response.on('data', (part) => parts.push(part));
    response.on('end', () => resolve({ headers: response.headers, text: Buffer.concat(parts).toString() }));
  });
  request.on('error', reject);
  request.end(body);
});

const { handler } = require('./dist/handler.cjs');

(async () => {
  for (;;) {
    const { headers, text } = await call('GET', '/invocation/next');
    const response = await handler(JSON.parse(text));
    await call('POST', `/invocation/${headers['lambda-runtime-aws-request-id']}/response`, JSON.stringify(response));
  }
})();
