// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/help.ts src/cli/flag-groups.ts
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { readCommands } from '../../scripts/manifest.ts';
import { FLAG_GROUPS, flagGroup, STAGES } from '../../src/cli/flag-groups.ts';
import { ensureBuilt, runCli } from '../support/run-cli.ts';

before(ensureBuilt);

test('the overview has every verb once, under its stage', async () => {
  assert.deepEqual(
    STAGES.flatMap(({ verbs }) => verbs).sort(),
    readCommands()
      .map(({ id }) => id)
      .sort(),
  );
  const overview = await runCli(['--help']);
  for (const { stage, verbs } of STAGES)
    assert.match(overview.stdout, new RegExp(`^${stage.toUpperCase()}\n(  .*\n)*  ${verbs[0]} `, 'm'));
  assert.equal((await runCli(['help'])).stdout, overview.stdout);
});

test('help VERB is VERB --help; what is no verb is refused as everywhere', async () => {
  const { stdout, code } = await runCli(['help', 'mix']);
  assert.equal(code, 0);
  assert.equal(stdout, (await runCli(['mix', '--help'])).stdout);
  const unknown = await runCli(['help', 'nope']);
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /expected a command, got "nope"/);
});

test("a command's own flags come first, then the groups in their order", async () => {
  const { stdout } = await runCli(['train', '--help']);
  const heads = [...stdout.matchAll(/^([A-Z ]*)FLAGS$/gm)].map(([, head]) => head!.trim());
  const groups = FLAG_GROUPS.map((group) => group.toUpperCase()).filter((group) => heads.includes(group));
  assert.deepEqual(heads, ['', ...groups]);
  assert.ok(groups.length >= 8);
});

test('train, which has the most flags, leaves few of them without a group', () => {
  const { id, flags } = readCommands().find((command) => command.id === 'train')!;
  const own = Object.values(flags).filter((flag) => flagGroup(id, flag) === undefined);
  assert.deepEqual(own.map(({ name }) => name).sort(), ['faithful', 'preset']);
});
