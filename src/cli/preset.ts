// SPDX-License-Identifier: Apache-2.0
// --preset and --faithful: a paper's settings in place of the defaults of flags that the command line does not give.
import { Flags } from '@oclif/core';
import { PRESET_NAMES, type PresetVerb, presetSettings } from '../stages/presets.ts';

export const presetFlag = Flags.option({ options: PRESET_NAMES })({
  helpValue: 'NAME',
  summary: "a paper's settings; flags given beside it win",
});

interface Settled {
  flags: object;
  given: ReadonlySet<string>;
}

/** The flags with the preset's values where the command line gives none. */
export function withPreset<F extends { preset?: string | undefined; faithful?: boolean }>(
  run: Settled & { flags: F },
  verb: PresetVerb,
): F {
  const { flags, given } = run;
  if (flags.preset === undefined) return flags;
  const settings = Object.entries(presetSettings(flags.preset, verb, flags.faithful === true));
  const taken = settings.filter(([name]) => !given.has(name)).map(([name, { value }]) => [name, value]);
  return { ...flags, ...Object.fromEntries(taken) };
}
