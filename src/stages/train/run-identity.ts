// SPDX-License-Identifier: Apache-2.0
// Everything that a run's results depend on. A resumed run must agree; else the error names the difference.
import { createHash } from 'node:crypto';
import type { TrainerSettings } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';

export interface RunIdentity {
  /** Excludes the split into micro-batches and the recompute level. */
  settings: Record<string, unknown>;
  model: ModelContext['fingerprint'];
  /** Digest of the records, in order. */
  records: string;
}

export function runIdentity(
  rows: readonly Row[],
  settings: TrainerSettings,
  others: Record<string, unknown>,
  model: ModelContext['fingerprint'],
): RunIdentity {
  const { microBatchTokens: _micro, recompute: _recompute, lossOptions, ...kept } = settings;
  return { settings: { ...kept, ...lossOptions, ...others }, model, records: recordsDigest(rows) };
}

export function recordsDigest(rows: readonly Row[]): string {
  const hash = createHash('sha256');
  for (const { record } of rows) hash.update(`${JSON.stringify(record)}\n`);
  return hash.digest('hex');
}

/** The default rendering of records, including the date if the template writes one. */
export async function renderingSettings(
  rows: readonly Row[],
  { template, templateArgs = {}, vision, loadTemplate }: ModelContext,
): Promise<Record<string, unknown>> {
  if (rows.every(({ record: { ref, sampling } }) => (ref?.template ?? sampling?.template) !== undefined)) return {};
  const { name, args } = await loadTemplate(template.asked ?? template.otherwise, templateArgs);
  const given = Object.keys(args).length > 0 ? JSON.stringify(args) : undefined;
  const { mode, maxPixels, minPixels } = vision?.plan ?? {};
  return { template: name, templateArg: given, imageMode: mode, maxPixels, minPixels };
}

export function identityDigest(identity: RunIdentity): string {
  return createHash('sha256').update(JSON.stringify(identity)).digest('hex');
}

/** The differences of two runs, as flags; empty if they are equal. */
export function differences(stored: RunIdentity, now: RunIdentity): string[] {
  const text = (value: unknown) =>
    value === undefined ? 'none' : typeof value === 'object' ? JSON.stringify(value) : String(value);
  const names = new Set([...Object.keys(stored.settings), ...Object.keys(now.settings)]);
  const settings = [...names].flatMap((name) => {
    const [there, here] = [stored, now].map(({ settings }) => text(settings[name] ?? UNSAID[name]));
    return there === here ? [] : [`${flagOf(name)}: ${there} there, ${here} here`];
  });
  return [
    ...settings,
    ...(JSON.stringify(stored.model) === JSON.stringify(now.model) ? [] : ['--model or --adapter: another model']),
    ...(stored.records === now.records ? [] : ['input: other records']),
  ];
}

/** Settings that a run leaves out where they are this. */
const UNSAID: Record<string, string> = { dtype: 'f32' };

const FLAGS: Record<string, string> = {
  totalSteps: 'steps (--epochs, --max-steps)',
  shuffle: 'shuffle (--no-shuffle)',
};

function flagOf(setting: string): string {
  return FLAGS[setting] ?? `--${setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
