// SPDX-License-Identifier: Apache-2.0
// Request parameters that each model family accepts, for all servers: vendors, their clouds, routers. A model that
// is not in the table gets every parameter; a refusal is handled by refused-parameters.ts.

/** Request settings of a model. */
export interface ModelInfo {
  /** false: refused, or harmful if it differs from the model's default. */
  temperature: boolean;
  topP: boolean;
  /** temperature and top_p in one request. */
  temperatureWithTopP: boolean;
  stop: boolean;
  /** Whether the model accepts a seed. */
  seed: boolean;
  /** Chat completions: name of the parameter for the maximum reply length; undefined: the server's default. */
  maxTokensField?: 'max_tokens' | 'max_completion_tokens';
  /** Additional tokens for models that reason before replying and count it as output. */
  reasoningTokens: number;
}

const PLAIN: ModelInfo = {
  temperature: true,
  topP: true,
  temperatureWithTopP: true,
  stop: true,
  seed: true,
  reasoningTokens: 0,
};

/** Default additional tokens of reasoning models. */
const REASONING_TOKENS = 8192;

interface Family {
  /** Pattern of the name without host, region and folder, in lower case. */
  name: RegExp;
  /** Versions, 100 x major + minor: from the first, below the second. */
  from?: number;
  below?: number;
  info: Partial<ModelInfo>;
}

/** The first matching line counts. */
const FAMILIES: Family[] = [
  { name: /^gpt-\d+(?:\.\d+)?-chat/, info: { maxTokensField: 'max_completion_tokens' } },
  {
    // OpenAI's reasoning models.
    name: /^(?:o[1-9](?![a-z0-9])|gpt-(?:[5-9]|\d\d))/,
    info: {
      ...{ temperature: false, topP: false, stop: false, seed: false },
      ...{ maxTokensField: 'max_completion_tokens', reasoningTokens: REASONING_TOKENS },
    },
  },
  { name: /^gpt-(?:3\.5|4)/, info: {} },
  { name: /^claude-/, from: 407, info: { temperature: false, topP: false } },
  { name: /^claude-/, from: 401, info: { temperatureWithTopP: false } },
  // Google advises to keep Gemini 3's default temperature.
  { name: /^gemini-/, from: 300, info: { temperature: false, reasoningTokens: REASONING_TOKENS } },
  { name: /^gemini-/, from: 205, below: 300, info: { reasoningTokens: REASONING_TOKENS } },
];

/** Parameters that a model accepts, by its name as the user or a router writes it. */
export function modelInfo(model: string): ModelInfo {
  const name = plainName(model);
  const family = FAMILIES.find(
    ({ name: pattern, from = Number.NEGATIVE_INFINITY, below = Number.POSITIVE_INFINITY }) =>
      pattern.test(name) && (versionOf(name) ?? 0) >= from && (versionOf(name) ?? 0) < below,
  );
  return { ...PLAIN, ...family?.info };
}

/** "models/gemini-3-pro", "openai/gpt-5", "us.anthropic.claude-opus-4-7-v1:0", "ft:gpt-4o:mine" -> the plain model name. */
function plainName(model: string): string {
  const last = model.toLowerCase().replace(/^ft:/, '').split('/').at(-1)!;
  return last.replace(/^(?:[a-z]+\.)*?(?=claude-)/, '');
}

/** "claude-opus-4-7", "claude-3-5-sonnet", "gemini-2.5-pro": 407, 305, 205; a date is no version. */
function versionOf(name: string): number | undefined {
  const match = /-(\d{1,2})(?:[.-](\d{1,2}))?(?![\d])/.exec(name);
  return match === null ? undefined : 100 * Number(match[1]) + Number(match[2] ?? 0);
}
