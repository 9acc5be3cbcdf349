// SPDX-License-Identifier: Apache-2.0
// The growing record: one object per prompt; every stage adds fields and passes unknown ones through.
// man 5 vpref-records and schema/record.schema.json describe it.
import type { RecordedSettings } from './sampling-settings.ts';

/** A part of a message's content: an image slot, or text. */
export type ContentPart = { type: 'image' } | { type: 'text'; text: string };

/** One turn. `content: null` on an assistant turn is a turn that `sample` generates before the turns after it. */
export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string | ContentPart[] | null;
}

/** One operation of a view with every drawn parameter, so a replay gives the same bytes. */
export interface ViewOp {
  op: string;
  [parameter: string]: unknown;
}

/** A distorted version of the record's images, written by `augment`. */
export interface View {
  name: string;
  ops: ViewOp[];
  seed: number;
  /** Image files after the pixel operations; absent when only recipes (diffusion) apply. */
  images?: string[];
}

/** One response, written by `sample` or imported. */
export interface Response {
  text: string;
  /** Texts of the generated turns, first to last, when the prompt has assistant turns with content null. */
  turns?: string[];
  /** Name of the response's view; "original" is the clean image. */
  view?: string;
  /** The model's label, if a record holds responses of several models. */
  label?: string;
  /** Sum of log p over response tokens, end token included, full vocabulary, temperature 1, nats. */
  logps?: number;
  /** The same under the clean image, whatever the view was; written by score --view original. */
  logps_original?: number;
  num_tokens?: number;
  /** From the server that gave the response: log-probabilities, their sum (usually without the end token), and the tokens' texts. */
  endpoint_logps?: number;
  endpoint_per_token_logps?: number[];
  endpoint_tokens?: string[];
  /** The terms of logps and the tokens' texts, to compare with a server's; written by score. */
  per_token_logps?: number[];
  tokens?: string[];
  /** Log-probabilities of these tokens under a possible mistake of the server, by the mistake's name; written by score --drift. */
  drift?: Record<string, number[]>;
  finish_reason?: 'stop' | 'length' | 'repetition' | 'error';
  /** The end of a response that did not end with the template's end token: a text or token of --stop, or another end token of the model. */
  stop?: string;
  seed?: number;
}

/** Variables of a chat template: those of --template-arg, and strftime_now, the date of a template that writes one. */
export type TemplateArgs = Record<string, unknown>;

/** Model and settings that produced `responses`. */
export interface Sampling extends RecordedSettings {
  model: string;
  adapter?: string | string[] | null;
  template?: string;
  template_args?: TemplateArgs;
  image_mode?: string;
  /** Bounds of height x width after resizing, for families that keep an image's shape. */
  max_pixels?: number;
  min_pixels?: number;
  /** Quantization of the language model's linear layers. */
  quantize?: string;
  stop?: string[];
  /** Requested SteerLM attributes. */
  steer?: Record<string, number>;
  seed?: number;
  dtype?: string;
}

/** The outcome of a judge call. Only `ok` has scores. */
export type Outcome =
  | 'ok'
  | 'refused'
  | 'truncated'
  | 'empty'
  | 'unparsable'
  | 'rate-limited'
  | 'quota-exhausted'
  | 'auth'
  | 'invalid'
  | 'transport';

/** One judge run over the responses of a record; the only place of scores. */
export interface Annotation {
  guide: string;
  judge: string;
  run: number;
  /** order[k] = index into `responses` of the response shown at position k. */
  order?: number[];
  outcome: Outcome;
  /** One object per response, in the order of `responses`. */
  scores?: (Record<string, number> | null)[];
  verdict?: unknown;
  /** For scores that are expected values: the share of the judge's probability on the guide's replies. */
  mass?: (Record<string, number> | null)[];
  /** The claims of each response, in the order of `responses`. */
  claims?: Claim[][];
  own_response?: string;
  text?: string;
  usage?: Record<string, number>;
  prompt_sha256?: string;
  [extra: string]: unknown;
}

/** A claim of a response, checked against the image. */
export interface Claim {
  text: string;
  p_yes: number;
  mass: number;
}

/** The reason for `pair`'s choice. */
export interface PairInfo {
  rule: string;
  [extra: string]: unknown;
}

/** Fingerprint of what computed ref_* fields. */
export interface RefFingerprint {
  model: string;
  adapter?: string | string[] | null;
  dtype?: string;
  template?: string;
  template_args?: TemplateArgs;
  image_mode?: string;
  /** Bounds of height x width after resizing, for families that keep an image's shape. */
  max_pixels?: number;
  min_pixels?: number;
  /** Quantization of the language model's linear layers. */
  quantize?: string;
  /** Digest of the scored inputs: token ids of prompt and responses, pixel plan, bytes of the images. Absent in files of version 0.1. */
  inputs?: string;
}

/** A failed row that was kept. */
export interface RowError {
  stage: string;
  code: string;
  message: string;
}

export interface VprefRecord {
  id: string;
  group?: string;
  images?: string[];
  prompt: string | Message[];
  reference?: string | string[];
  choices?: string[];
  context?: unknown;
  source?: string;
  meta?: Record<string, unknown>;
  sampling_params?: Record<string, unknown>;
  views?: View[];
  responses?: Response[];
  choice_logps?: number[];
  sampling?: Sampling;
  annotations?: Annotation[];
  chosen?: string;
  rejected?: string | string[];
  chosen_score?: number;
  rejected_score?: number | number[];
  pair?: PairInfo;
  rejected_images?: string[] | string[][];
  response?: string;
  label?: boolean;
  /** Used by train if it is a number; in files of version 0.1 it may be a user's field. */
  weight?: unknown;
  /** As weight. */
  beta?: unknown;
  ref_chosen_logps?: number;
  ref_rejected_logps?: number | number[];
  ref_chosen_logps_rejected_images?: number | number[];
  ref_response_logps?: number;
  policy_chosen_logps?: number;
  policy_rejected_logps?: number | number[];
  policy_response_logps?: number;
  ref?: RefFingerprint;
  error?: RowError;
  [unknown: string]: unknown;
}
