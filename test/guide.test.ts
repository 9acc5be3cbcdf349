// SPDX-License-Identifier: Apache-2.0
// GUIDE.md: its first part is typed in from top to bottom, and prints what the guide says.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPage, readSteps, testPage } from './support/examples.ts';

testPage('GUIDE.md');

test('the guide has its steps', () => assert.ok(readSteps(readPage('GUIDE.md')).length >= 20));
