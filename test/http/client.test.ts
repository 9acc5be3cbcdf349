// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openHttpClient, TransportError } from '../../src/http/client.ts';
import { closeServer, listen } from '../support/judge-server.ts';

/** Runs `use` against a server with this listener. */
async function withServer(listener: RequestListener, use: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(listener);
  await listen(server);
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    await closeServer(server);
  }
}

/** The code of the TransportError that one GET ends in. */
async function failureOf(
  url: string,
  options: { timeoutMs?: number; maxResponseBytes?: number } = {},
): Promise<string> {
  const client = await openHttpClient({ timeoutMs: 5000, ...options });
  try {
    await client.send({ method: 'GET', url });
  } catch (cause) {
    assert.ok(cause instanceof TransportError, String(cause));
    return cause.code;
  } finally {
    await client.close();
  }
  return 'none';
}

test('a whole answer comes back with status, headers and text, whatever the status', async () => {
  await withServer(
    (request, response) =>
      response.writeHead(418, { 'x-a': 'b' }).end(`{"method":"${request.method}","text":"h\u00e9"}`),
    async (url) => {
      const client = await openHttpClient({ timeoutMs: 5000 });
      const reply = await client.send({ url, body: '{}' });
      assert.deepEqual(
        [reply.status, reply.headers['x-a'], reply.body],
        [418, 'b', '{"method":"POST","text":"h\u00e9"}'],
      );
      await client.close();
    },
  );
});

test('a body that is cut, too slow, too large or not UTF-8 is a transport failure', async () => {
  await withServer(
    (request, response) => {
      if (request.url === '/cut') {
        response.writeHead(200, { 'content-length': 100 }).write('half');
        setTimeout(() => response.socket?.destroy(), 5);
      } else if (request.url === '/slow') response.writeHead(200).write('.');
      else if (request.url === '/large') response.end(Buffer.alloc(20_000, 'x'));
      else response.end(Buffer.from([0x22, 0xff, 0xfe, 0x22]));
    },
    async (url) => {
      assert.match(await failureOf(`${url}/cut`), /UND_ERR_SOCKET|ECONNRESET/);
      assert.equal(await failureOf(`${url}/slow`, { timeoutMs: 150 }), 'timeout');
      assert.equal(await failureOf(`${url}/large`, { maxResponseBytes: 10_000 }), 'too-large');
      assert.equal(await failureOf(`${url}/latin1`), 'not-utf8');
    },
  );
});

test('nobody listens', async () => {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  assert.equal(await failureOf(`http://127.0.0.1:${port}`), 'ECONNREFUSED');
});

test('a host that has no address: the message says what may be missing', async () => {
  const client = await openHttpClient({ timeoutMs: 5000 });
  await assert.rejects(client.send({ url: 'http://judge.invalid', body: '' }), (cause: TransportError) => {
    assert.match(
      cause.message,
      /judge\.invalid: no network, another name of the host, or a proxy is needed \(HTTPS_PROXY\)$/,
    );
    return /^(ENOTFOUND|EAI_AGAIN)$/.test(cause.code);
  });
  await client.close();
});

test('the caller can give up', async () => {
  await withServer(
    () => {},
    async (url) => {
      const client = await openHttpClient({ timeoutMs: 60_000 });
      const abort = new AbortController();
      const call = client.send({ url, body: '', signal: abort.signal });
      setTimeout(() => abort.abort(), 20);
      await assert.rejects(call, TransportError);
      await client.close();
    },
  );
});

test('a certificate that nobody signed is refused for good, whatever the environment says', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-tls-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const made = spawnSync('openssl', [...request, '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost']);
  if (made.status !== 0) return context.skip('openssl is not installed');
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  context.after(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  });
  const client = await openHttpClient({ timeoutMs: 5000 });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(client.send({ url, body: '' }), (cause: TransportError) => {
    assert.equal(cause.permanent, true);
    assert.match(cause.message, /: NODE_EXTRA_CA_CERTS=FILE adds a certificate authority$/);
    return /SELF_SIGNED/.test(cause.code);
  });
  await client.close();
  await new Promise((resolve) => server.close(resolve));
});

test('HTTP_PROXY is used, and NO_PROXY is an exception to it', async () => {
  const asked: string[] = [];
  const proxy = createServer((request, response) => {
    asked.push(String(request.url));
    response.end('from the proxy');
  });
  proxy.on('connect', (request, socket) => {
    asked.push(`CONNECT ${request.url}`);
    const [host, port] = String(request.url).split(':');
    const upstream = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  await listen(proxy);
  const before = { ...process.env };
  process.env.HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  delete process.env.http_proxy;
  try {
    await withServer(
      (_, response) => response.end('direct'),
      async (url) => {
        const client = await openHttpClient({ timeoutMs: 5000 });
        await client.send({ method: 'GET', url });
        await client.close();
        assert.equal(asked.length, 1);
        process.env.NO_PROXY = '127.0.0.1';
        const direct = await openHttpClient({ timeoutMs: 5000 });
        assert.equal((await direct.send({ method: 'GET', url })).body, 'direct');
        await direct.close();
        assert.equal(asked.length, 1);
      },
    );
  } finally {
    process.env = before;
    await closeServer(proxy);
  }
});
