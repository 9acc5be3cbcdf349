// SPDX-License-Identifier: Apache-2.0
// Flags, record fields, exit codes and metric keys are frozen in interface.json: a change there is a change that
// users' scripts see, made on purpose with `make docs`.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { describeInterface } from '../scripts/interface.ts';
import { readCommands } from '../scripts/manifest.ts';
import { ensureBuilt, root } from './support/run-cli.ts';

before(ensureBuilt);

test('the interface is the frozen one', () => {
  const frozen = JSON.parse(readFileSync(join(root, 'test/interface.json'), 'utf8'));
  assert.deepEqual(JSON.parse(JSON.stringify(describeInterface())), frozen);
});

test('every flag is a lower-case fragment without a full stop, and every command has a summary and an example', () => {
  for (const command of readCommands()) {
    assert.ok(command.summary, `${command.id}: summary`);
    assert.ok(command.examples?.length, `${command.id}: examples`);
    for (const [name, { summary, description }] of Object.entries(command.flags)) {
      const text = summary ?? description ?? '';
      assert.match(text, /^(?![A-Z][a-z]+\b)[^\s].*[^.\s]$/s, `${command.id} --${name}: ${JSON.stringify(text)}`);
    }
  }
});
