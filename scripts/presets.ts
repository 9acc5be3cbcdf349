// SPDX-License-Identifier: Apache-2.0
// Writes the table of METHODS.md under "Presets": each preset's settings per command, with sources.
import { readFileSync } from 'node:fs';
import { type Preset, type PresetSetting, type PresetVerb, presets } from '../src/cli/presets.ts';
import { emit } from './manifest.ts';

const VERBS: PresetVerb[] = ['sample', 'pair', 'precompute-ref', 'train'];
const BEGIN = '<!-- scripts/presets.ts writes from here -->';
const END = '<!-- to here -->';

function cellOf({ value, faithful, published }: PresetSetting): string {
  const text = (setting: PresetSetting['value']) => `\`${[setting].flat().join(' ')}\``;
  if (faithful) return `${text(value)} (--faithful only)`;
  return published ? `${text(value)} (--faithful: ${text(published.value)})` : text(value);
}

/** Presets that set a flag to the same value for the same reason share a row. */
function rowsOf(verb: PresetVerb): string[] {
  const rows = new Map<string, string[]>();
  for (const [name, preset] of Object.entries(presets) as [string, Preset][])
    for (const [flag, setting] of Object.entries(preset[verb])) {
      const source = setting.published ? `${setting.source}; ${setting.published.source}` : setting.source;
      const key = `--${flag} | ${cellOf(setting)} | ${source} |`;
      rows.set(key, [...(rows.get(key) ?? []), name]);
    }
  return [...rows].map(([key, names]) => `| ${verb} | ${names.join(', ')} | ${key}`);
}

const table = ['| command | presets | flag | value | source |', '|---|---|---|---|---|', ...VERBS.flatMap(rowsOf)];
const text = readFileSync('METHODS.md', 'utf8');
const [before, rest] = text.split(BEGIN);
const after = rest?.split(END)[1];
if (before === undefined || after === undefined) throw new Error(`METHODS.md: expected ${BEGIN} and ${END}`);
emit('METHODS.md', `${before}${BEGIN}\n${table.join('\n')}\n${END}${after}`);
