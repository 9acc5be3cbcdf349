// SPDX-License-Identifier: Apache-2.0
// The settings of sampling, a row each. The flag of `sample`, the field of `sampling_params`, the member of the engine's request, and all checks
// come from the row. To add a setting of the kernel: a row here, a row of VPREF_SAMPLE_SETTINGS (native/ops/sample_token.h), and its use in the kernels.

export interface SamplingRow {
  /** Name of the flag; with underscores, the name of the record field. */
  flag: string;
  helpValue: string;
  summary: string;
  /** The value that changes nothing. */
  default: number;
  min: number;
  /** Absent: no limit, or 32 bits for a whole number. */
  max?: number;
  whole?: true;
  /** Whether --endpoint sends it; a setting that a server does not get is refused there. */
  atEndpoint?: true;
  /** When the record's `sampling` has it; absent: when it is not the default. */
  recorded?: 'always' | 'never';
}

/** By their names in the engine's request. */
// biome-ignore format: a row each
const ROWS = {
  numSamples: { flag: 'n', helpValue: 'N', summary: 'responses per view', default: 1, min: 1, max: 4096, whole: true, atEndpoint: true, recorded: 'never' },
  temperature: { flag: 'temperature', helpValue: 'T', summary: 'sampling temperature; 0: greedy decoding', default: 0, min: 0, atEndpoint: true, recorded: 'always' },
  topP: { flag: 'top-p', helpValue: 'P', summary: 'nucleus sampling: sample from the smallest set of tokens with total probability P', default: 1, min: 1e-6, max: 1, atEndpoint: true, recorded: 'always' },
  topK: { flag: 'top-k', helpValue: 'K', summary: 'sample from the K most likely tokens; 0: from all', default: 0, min: 0, whole: true, atEndpoint: true, recorded: 'always' },
  maxNewTokens: { flag: 'max-new-tokens', helpValue: 'N', summary: 'maximum new tokens per response', default: 512, min: 1, whole: true, atEndpoint: true, recorded: 'always' },
  numBeams: { flag: 'beams', helpValue: 'N', summary: 'beam search with N beams', default: 1, min: 1, max: 64, whole: true },
  repetitionMaxPeriod: { flag: 'stop-repeats', helpValue: 'N', summary: 'end a response that repeats a pattern of up to N tokens 8 times; 0: never', default: 0, min: 0, whole: true },
} as const satisfies Record<string, SamplingRow>;

type Name = keyof typeof ROWS;
type Underscored<S extends string> = S extends `${infer A}-${infer B}` ? `${A}_${Underscored<B>}` : S;
export type SamplingFlag = (typeof ROWS)[Name]['flag'];
export type SamplingField = Underscored<SamplingFlag>;
export type SamplingSettings = Record<Name, number>;

const NAMES = Object.keys(ROWS) as Name[];

export const SAMPLING_SETTINGS: readonly (SamplingRow & {
  name: Name;
  flag: SamplingFlag;
  field: SamplingField;
  max: number;
})[] = NAMES.map((name) => {
  const row: (typeof ROWS)[Name] & SamplingRow = ROWS[name];
  const limit = row.whole ? 2 ** 31 - 1 : Number.MAX_VALUE;
  return { ...row, name, field: row.flag.replaceAll('-', '_') as SamplingField, max: row.max ?? limit };
});

/** Members that `sampling` of a record may have. */
export const RECORDED_SETTINGS = SAMPLING_SETTINGS.filter(({ recorded }) => recorded !== 'never').map(
  ({ field }) => field,
);

/** One greedy response. */
export const SAMPLING_DEFAULTS = samplingSettings(
  Object.fromEntries(NAMES.map((name) => [name, ROWS[name].default])) as SamplingSettings,
);

/** The settings alone, of an object that has other members too. */
export function samplingSettings(from: SamplingSettings): SamplingSettings {
  return Object.fromEntries(NAMES.map((name) => [name, from[name]])) as SamplingSettings;
}

/** As `sampling` of a record has them. */
export type RecordedSettings = Partial<Record<SamplingField, number>>;

export function recordedSettings(settings: SamplingSettings): RecordedSettings {
  const recorded = SAMPLING_SETTINGS.filter(
    (row) => row.recorded === 'always' || (row.recorded === undefined && settings[row.name] !== row.default),
  );
  return Object.fromEntries(recorded.map(({ name, field }) => [field, settings[name]]));
}
