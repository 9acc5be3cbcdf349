// SPDX-License-Identifier: Apache-2.0
// What scripts and other tools rely on: commands, flags, record fields, exit codes, metric keys.
import { exitCode } from '../src/cli/exit.ts';
import { optionalFields, requiredFields } from '../src/records/record-shape.ts';
import type { MetricRow } from '../src/stages/train/metrics.ts';
import { listFlags, readCommands } from './manifest.ts';

/** One metric row of `train`, as TRL names them, and what is added. */
export const metricKeys: (keyof MetricRow)[] = [
  'step',
  'epoch',
  'loss',
  'rewards/chosen',
  'rewards/rejected',
  'rewards/margins',
  'rewards/accuracies',
  'logps/chosen',
  'logps/rejected',
  'grad_norm',
  'learning_rate',
  'tokens_per_second',
  'pairs_per_second',
  'peak_memory_bytes',
];

export function describeInterface(): Record<string, unknown> {
  const commands = readCommands().map((command) => {
    const flags = listFlags(command).map(({ name, char, type, options, multiple, required, default: value }) => [
      name,
      { type, char, options, multiple: multiple || undefined, required: required || undefined, default: value },
    ]);
    const args = Object.values(command.args).map(({ name, required, options }) => [name, { required, options }]);
    return [command.id, { args: Object.fromEntries(args), flags: Object.fromEntries(flags) }];
  });
  return {
    commands: Object.fromEntries(commands),
    recordFields: { required: Object.keys(requiredFields), optional: Object.keys(optionalFields) },
    exitCodes: exitCode,
    metricKeys,
  };
}
