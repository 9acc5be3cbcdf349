// SPDX-License-Identifier: Apache-2.0
// Sampling parameters, for the engine or a server, and a record's `sampling_params`.

import type { SamplingSettings } from '../../engine/requests.ts';
import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';

export interface SamplingParams extends SamplingSettings {
  /** Texts that end a response. */
  stop: string[];
}

const FIELDS: Record<string, { field: keyof SamplingParams; min: number; max: number; whole: boolean }> = {
  n: { field: 'numSamples', min: 1, max: 4096, whole: true },
  temperature: { field: 'temperature', min: 0, max: Number.POSITIVE_INFINITY, whole: false },
  top_p: { field: 'topP', min: 1e-6, max: 1, whole: false },
  top_k: { field: 'topK', min: 0, max: 2 ** 31 - 1, whole: true },
  max_new_tokens: { field: 'maxNewTokens', min: 1, max: 2 ** 31 - 1, whole: true },
  beams: { field: 'numBeams', min: 1, max: 64, whole: true },
};

/** Throws RecordError for an invalid value in `sampling_params`. Ignores keys of other tools. */
export function recordSamplingParams(row: Row, options: SamplingParams): SamplingParams {
  const params = { ...samplingSettings(options), stop: options.stop };
  for (const [name, value] of Object.entries(row.record.sampling_params ?? {})) {
    const at = `sampling_params.${name}`;
    const rule = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (rule !== undefined) {
      const { field, min, max, whole } = rule;
      const fits = typeof value === 'number' && value >= min && value <= max && (!whole || Number.isInteger(value));
      if (!fits) throw new RecordError(row, at, rangeText(rule), JSON.stringify(value) ?? 'undefined');
      Object.assign(params, { [field]: value });
    } else if (name === 'stop') {
      const list = typeof value === 'string' ? [value] : value;
      if (!Array.isArray(list) || !list.every((item) => typeof item === 'string' && item !== '')) {
        throw new RecordError(row, at, 'a text or a list of texts', JSON.stringify(value) ?? 'undefined');
      }
      params.stop = list;
    }
  }
  return params;
}

/** Copies only the sampling parameters of an object. */
export function samplingSettings(from: SamplingSettings): SamplingSettings {
  const { numSamples, temperature, topP, topK, maxNewTokens, numBeams, repetitionMaxPeriod } = from;
  return { numSamples, temperature, topP, topK, maxNewTokens, numBeams, repetitionMaxPeriod };
}

function rangeText({ min, max, whole }: { min: number; max: number; whole: boolean }): string {
  const kind = whole ? 'a whole number' : 'a number';
  return max >= 2 ** 31 - 1 ? `${kind} of at least ${min}` : `${kind} in ${min}..${max}`;
}
