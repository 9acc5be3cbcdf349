// SPDX-License-Identifier: Apache-2.0
// Prints counts of the source: node --import tsx scripts/checks/house.ts
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { longParameterLists } from '../check-parameters.ts';

const files = execFileSync('git', ['ls-files', 'src', 'native', 'families'], { encoding: 'utf8' })
  .split('\n')
  .filter((name) => /\.(ts|cc|h|cu|cuh)$/.test(name))
  .map((name) => ({ name, text: readFileSync(name, 'utf8') }));
const isNative = (name: string) => !name.endsWith('.ts');
const outside = files.filter(({ name }) => !name.startsWith('families/'));
const lines = (text: string) => text.split('\n').length - 1;
const count = (list: readonly { name: string }[]) => ({ count: list.length, files: list.map(({ name }) => name) });

const rows = {
  'lines of src, native and families': files.reduce((sum, { text }) => sum + lines(text), 0),
  'files above 300 lines': count(files.filter(({ text }) => lines(text) > 300)),
  'C++ lines above 120 columns': files
    .filter(({ name }) => isNative(name))
    .reduce((sum, { text }) => sum + text.split('\n').filter((line) => line.length > 120).length, 0),
  'C++ functions with more than 7 parameters': longParameterLists().length,
  'files outside families/ that name one image size or count': count(
    outside.filter(({ text }) => /\bimage_size\b|num_image_rows\(\)|\bnumImageRows\b|\bvision\.imageSize\b/.test(text)),
  ),
  'files outside families/ that compare a model type': count(
    outside.filter(({ text }) => /\bmodel_type ==|\bmodelType ===/.test(text)),
  ),
};
for (const [what, value] of Object.entries(rows))
  console.log(JSON.stringify({ what, ...(typeof value === 'number' ? { count: value } : value) }));
