// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headerSecrets, splitLogin, versionHint, withoutLogins } from '../../src/records/server-url.ts';

test('a login leaves the URL and becomes a header', () => {
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`;
  assert.deepEqual(splitLogin('http://h:8000/v1'), { url: 'http://h:8000/v1', login: {} });
  assert.deepEqual(splitLogin('https://me:pass%20word@h/v1/'), {
    url: 'https://h/v1',
    login: { authorization: basic('me:pass word') },
  });
  assert.deepEqual(splitLogin('https://token@h/v1')!.login, { authorization: basic('token:') });
  assert.deepEqual(splitLogin('https://a:%zz@h/v1')!.login, { authorization: basic('a:%zz') });
  for (const text of ['h:8000', 'ftp://me:secret@h', '', 'not a url']) assert.equal(splitLogin(text), undefined);
});

test('no text shows a login', () => {
  assert.equal(withoutLogins('see ftp://me:sec@ret@h/x and http://h/a@b'), 'see ftp://h/x and http://h/a@b');
  assert.equal(withoutLogins('mail me@example.org'), 'mail me@example.org');
});

test('keys and logins in headers are secret', () => {
  const { authorization } = splitLogin('http://me:long-password@h')!.login;
  assert.deepEqual(headerSecrets({ authorization: authorization!, accept: 'x' }).slice(1), [
    'me:long-password',
    'long-password',
  ]);
  assert.deepEqual(headerSecrets({ authorization: 'Bearer sk-1' }), ['sk-1']);
  assert.deepEqual(headerSecrets({ 'x-api-key': 'k', 'anthropic-version': '1' }), ['k']);
});

test('a hint for URLs without a version part', () => {
  assert.match(versionHint('http://h:8000', '--endpoint'), /--endpoint wants .*\/v1/);
  assert.equal(versionHint('http://h:8000/v1', '--endpoint') + versionHint('https://h/v1beta', '--base-url'), '');
});
