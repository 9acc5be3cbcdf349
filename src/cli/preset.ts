// SPDX-License-Identifier: Apache-2.0
// --preset and --faithful: a paper's settings for flags that are not given.
import { Flags } from '@oclif/core';
import { PRESET_NAMES, type PresetVerb, presetSettings } from './presets.ts';
import type { RunContext } from './run-context.ts';

export const presetFlags = {
  preset: Flags.option({ options: PRESET_NAMES })({
    helpValue: 'NAME',
    summary: `use a paper's settings for flags that are not given: ${PRESET_NAMES.join(', ')}`,
  }),
  faithful: Flags.boolean({ summary: "reproduce the published code's quirks (see DESCRIPTION)" }),
};

/**
 * The flags, with the preset's values for those not on the command line.
 *   given: names of the flags on the command line (RunContext.given); without it, the flags that are not undefined.
 */
export function withPreset<F extends { preset?: string | undefined; faithful?: boolean }>(
  flags: F,
  verb: PresetVerb,
  given: ReadonlySet<string> = definedNames(flags),
): F {
  if (flags.preset === undefined) return flags;
  const settings = Object.entries(presetSettings(flags.preset, verb, flags.faithful === true));
  const taken = settings.filter(([name]) => !given.has(name)).map(([name, { value }]) => [name, value]);
  return { ...flags, ...Object.fromEntries(taken) };
}

/** Warns that --faithful has no effect. */
export function warnNoQuirk(run: Pick<RunContext<unknown, unknown>, 'warn'>, where: string): void {
  run.warn(`--faithful: has no effect: no quirk of the published code is known for ${where} (see --help)`);
}

function definedNames(flags: object): Set<string> {
  return new Set(Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [name])));
}
