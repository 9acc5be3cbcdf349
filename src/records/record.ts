// SPDX-License-Identifier: Apache-2.0
// The growing record: one object per prompt; every stage adds fields and passes unknown ones through.
// man 5 vpref-records and schema/record.schema.json say the same thing.
import type { RecordedSettings } from './sampling-settings.ts';

/** A part of a message's content: an image slot, or text. */
export type ContentPart = { type: 'image' } | { type: 'text'; text: string };

/** One turn. `content: null` on an assistant turn is a turn that `sample` generates before the turns after it. */
export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string | ContentPart[] | null;
}

/** One operation of a view with every drawn parameter, so that replaying it gives the same bytes. */
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
  /** Name of the view the response was given to; "original" is the clean image. */
  view?: string;
  /** Whose response it is, when a record holds responses of several models. */
  label?: string;
  /** Sum of log p over response tokens, end token included, full vocabulary, temperature 1, nats. */
  logps?: number;
  /** The same under the clean image, whatever the view was; written by score --view original. */
  logps_original?: number;
  num_tokens?: number;
  /** Of the server that gave the answer: its log-probabilities, their sum (end token mostly left out), and the tokens' texts. */
  endpoint_logps?: number;
  endpoint_per_token_logps?: number[];
  endpoint_tokens?: string[];
  /** The addends of logps and the tokens' texts, beside a server's; written by score. */
  per_token_logps?: number[];
  tokens?: string[];
  /** The same tokens read as a server might by mistake, by the mistake's name; written by score --drift. */
  drift?: Record<string, number[]>;
  finish_reason?: 'stop' | 'length' | 'repetition' | 'error';
  /** What ended the response where it was not the template's end token: a text or token of --stop, another end token of the model. */
  stop?: string;
  seed?: number;
}

/** Variables of a chat template: what --template-arg gave, and strftime_now, the date of a template that writes one. */
export type TemplateArgs = Record<string, unknown>;

/** What produced `responses`. */
export interface Sampling extends RecordedSettings {
  model: string;
  adapter?: string | string[] | null;
  template?: string;
  template_args?: TemplateArgs;
  image_mode?: string;
  /** Bounds of height x width that pictures were brought between, of families that keep a picture's own shape. */
  max_pixels?: number;
  min_pixels?: number;
  /** Quantization of the language model's linear layers. */
  quantize?: string;
  stop?: string[];
  /** SteerLM attributes that were asked for. */
  steer?: Record<string, number>;
  seed?: number;
  dtype?: string;
}

/** How a judge call ended. Only `ok` carries scores. */
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

/** One judge run over the responses of a record; the only place where scores live. */
export interface Annotation {
  guide: string;
  judge: string;
  run: number;
  /** order[k] = index into `responses` of the response shown at place k. */
  order?: number[];
  outcome: Outcome;
  /** One object per response, in the order of `responses`. */
  scores?: (Record<string, number> | null)[];
  verdict?: unknown;
  /** Of scores that are expected grades: how much of the judge's probability the guide's replies had. */
  mass?: (Record<string, number> | null)[];
  /** The claims of each response, in the order of `responses`. */
  claims?: Claim[][];
  own_response?: string;
  text?: string;
  usage?: Record<string, number>;
  prompt_sha256?: string;
  [extra: string]: unknown;
}

/** A statement of a response, checked against the image. */
export interface Claim {
  text: string;
  p_yes: number;
  mass: number;
}

/** Why `pair` chose as it did. */
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
  /** Bounds of height x width that pictures were brought between, of families that keep a picture's own shape. */
  max_pixels?: number;
  min_pixels?: number;
  /** Quantization of the language model's linear layers. */
  quantize?: string;
  /** Digest of the scored inputs: token ids of prompt and responses, pixel plan, bytes of the images. Absent in files of 0.1. */
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
  /** Used by train where it is a number; of 0.1 it may be a user's own field. */
  weight?: unknown;
  /** Likewise. */
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
