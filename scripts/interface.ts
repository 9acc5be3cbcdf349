// SPDX-License-Identifier: Apache-2.0
// The public interface: commands, flags, record fields, exit codes, metric keys.
import { exitCode } from '../src/cli/exit.ts';
import { optionalFields, requiredFields } from '../src/records/record-shape.ts';
import type { EndRow, EvalRow, MetricRow, WarningRow } from '../src/stages/train/metrics.ts';
import { listFlags, readCommands } from './manifest.ts';

/** Keys of `train`'s rows: of a step (TRL's names and additional ones), of held-out records, of the end, of a warning. */
export const metricKeys: (keyof MetricRow | keyof EvalRow | keyof EndRow | keyof WarningRow)[] = [
  'step',
  'epoch',
  'loss',
  'rewards/chosen',
  'rewards/rejected',
  'rewards/margins',
  'rewards/accuracies',
  'logps/chosen',
  'logps/rejected',
  'delta',
  'grad_norm',
  'learning_rate',
  'tokens_per_second',
  'pairs_per_second',
  'peak_memory_bytes',
  'eval/loss',
  'eval/rewards/chosen',
  'eval/rewards/rejected',
  'eval/rewards/margins',
  'eval/rewards/accuracies',
  'eval/logps/chosen',
  'eval/logps/rejected',
  'eval/best_step',
  'eval/seconds',
  'stop_reason',
  'best_step',
  'best_metric',
  'best_value',
  'kept_step',
  'warning',
  'message',
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
