// SPDX-License-Identifier: Apache-2.0
// Sampling parameters, for the engine or a server, and a record's `sampling_params`.

import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import {
  SAMPLING_SETTINGS,
  type SamplingRow,
  type SamplingSettings,
  samplingSettings,
} from '../../records/sampling-settings.ts';

export interface SamplingParams extends SamplingSettings {
  /** Texts that end a response. */
  stop: string[];
}

/** Throws RecordError for an invalid value in `sampling_params`. Ignores keys of other tools. */
export function recordSamplingParams(row: Row, options: SamplingParams): SamplingParams {
  const params: SamplingParams = { ...samplingSettings(options), stop: options.stop };
  for (const [name, value] of Object.entries(row.record.sampling_params ?? {})) {
    const at = `sampling_params.${name}`;
    const setting = SAMPLING_SETTINGS.find(({ field }) => field === name);
    if (setting !== undefined) {
      const { min, max, whole } = setting;
      const fits = typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value));
      if (!fits) throw new RecordError(row, at, rangeText(setting), JSON.stringify(value) ?? 'undefined');
      params[setting.name] = value;
    } else if (name === 'stop') {
      const list = typeof value === 'string' ? [value] : value;
      if (!Array.isArray(list) || !list.every((item) => typeof item === 'string' && item !== '')) {
        throw new RecordError(row, at, 'a text or a list of texts', JSON.stringify(value) ?? 'undefined');
      }
      params.stop = list;
    }
  }
  if (params.numBeams > 1 && (params.temperature > 0 || params.numSamples > 1))
    throw new RecordError(row, 'sampling_params.beams', '1, or temperature 0 and n 1 with it', String(params.numBeams));
  return params;
}

function rangeText({ min, max, whole }: SamplingRow & { max: number }): string {
  const kind = whole ? 'a whole number' : 'a number';
  return max >= 2 ** 31 - 1 ? `${kind} of at least ${min}` : `${kind} in ${min}..${max}`;
}
