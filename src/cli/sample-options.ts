// SPDX-License-Identifier: Apache-2.0
// The flags of sample, and the choice of its stage: on the engine, or at a server.
import { Flags, type Interfaces } from '@oclif/core';
import type { Stage } from '../flow/stage.ts';
import { UsageError } from '../records/error.ts';
import { SAMPLING_SETTINGS, type SamplingFlag, type SamplingSettings } from '../records/sampling-settings.ts';
import { STEER_ATTRIBUTES } from '../records/steerlm.ts';
import { integerFlag, modelFlags, numberFlag, recordFlags } from './flags.ts';
import { openModelOf } from './model-flags.ts';
import { presetFlags } from './preset.ts';
import { presetSettings } from './presets.ts';
import type { RunContext } from './run-context.ts';

const samplingFlag = ({
  flag,
  summary,
  helpValue,
  default: value,
  min,
  max,
  whole,
}: (typeof SAMPLING_SETTINGS)[number]) => {
  const options = {
    summary,
    helpValue,
    min,
    max,
    helpGroup: 'Sampling',
    ...(flag.length === 1 && { char: flag as 'n' }),
  };
  return whole ? integerFlag({ ...options, default: value }) : numberFlag({ ...options, default: value });
};

const samplingFlags = Object.fromEntries(SAMPLING_SETTINGS.map((row) => [row.flag, samplingFlag(row)])) as Record<
  SamplingFlag,
  ReturnType<typeof samplingFlag>
>;

export const sampleFlags = {
  ...recordFlags,
  ...modelFlags,
  ...presetFlags,
  model: Flags.string({
    required: true,
    helpValue: 'DIR',
    summary: "model directory in Hugging Face layout; with --endpoint: the server's model name",
  }),
  ...samplingFlags,
  stop: Flags.string({
    multiple: true,
    helpValue: 'TEXT',
    summary: 'stop string: end a response before this text; may be repeated',
  }),
  views: Flags.string({
    default: 'original',
    helpValue: 'original|all|NAME',
    summary: "respond to the record's own images, to these and every view, or to one view",
  }),
  label: Flags.string({
    helpValue: 'NAME',
    summary: 'label of the responses, to tell several models in one record apart',
  }),
  logps: Flags.boolean({ summary: 'add the log-probability of each response' }),
  steer: Flags.string({
    helpValue: 'NAME=0..4,...',
    summary: 'ask for responses with these attributes, as SteerLM does: helpfulness=4,verbosity=2',
  }),
  verbose: Flags.boolean({ summary: 'print the memory plan to stderr' }),
  endpoint: Flags.string({ helpValue: 'URL', summary: 'use an OpenAI-compatible server: http://host:8000/v1' }),
  'key-env': Flags.string({
    helpValue: 'NAME',
    summary: '--endpoint: environment variable with the API key',
  }),
  concurrency: integerFlag({
    min: 1,
    max: 4096,
    default: 16,
    helpValue: 'N',
    summary: '--endpoint: maximum concurrent requests',
  }),
  timeout: numberFlag({
    min: 0.001,
    default: 600,
    helpValue: 'SECONDS',
    summary: '--endpoint: timeout per request',
  }),
  attempts: integerFlag({ min: 1, default: 6, helpValue: 'N', summary: '--endpoint: maximum attempts per request' }),
};

type SampleFlags = Interfaces.InferredFlags<typeof sampleFlags>;

/** Opens the model or the server. Throws UsageError for flags without effect there. */
export function openSample(run: RunContext<SampleFlags, unknown>, flags: SampleFlags): Promise<Stage> {
  return flags.endpoint === undefined ? openLocal(run, flags) : openEndpoint(run, flags, flags.endpoint);
}

// Options common to the engine and a server.
function samplingParamsOf(flags: SampleFlags) {
  return {
    ...(Object.fromEntries(SAMPLING_SETTINGS.map(({ name, flag }) => [name, flags[flag]])) as SamplingSettings),
    stop: flags.stop ?? [],
    views: flags.views,
    seed: flags.seed,
  };
}

async function openLocal(run: RunContext<SampleFlags, unknown>, flags: SampleFlags): Promise<Stage> {
  for (const name of ENDPOINT_FLAGS)
    if (run.given.has(name)) throw new UsageError(`--${name}: expected --endpoint with it`);
  const steer = flags.steer === undefined ? undefined : parseSteer(flags.steer);
  const { sample } = await import('../stages/sample.ts');
  const { context } = await openModelOf(run, flags);
  return sample(
    {
      ...samplingParamsOf(flags),
      ...(flags.label !== undefined && { label: flags.label }),
      logps: flags.logps,
      ...(steer && { steer }),
    },
    context,
  );
}

function parseSteer(text: string): Record<string, number> {
  const names: readonly string[] = STEER_ATTRIBUTES;
  const entries = text.split(',').map((item) => {
    const [, name, value] = /^([a-z]+)=([0-4])$/.exec(item) ?? [];
    if (name === undefined || !names.includes(name))
      throw new UsageError(`--steer: expected NAME=0..4 with NAME of ${names.join(', ')}, got ${JSON.stringify(item)}`);
    return [name, Number(value)] as const;
  });
  return Object.fromEntries(entries);
}

const ENDPOINT_FLAGS = ['key-env', 'concurrency', 'timeout', 'attempts'] as const;

// Not settable for a server: it loads its own model, template and images.
const ENGINE_FLAGS = [
  'adapter',
  'device',
  'dtype',
  'quantize',
  'quantize-cache',
  'batch-tokens',
  'template',
  'template-arg',
  'image-mode',
  'max-pixels',
  'min-pixels',
  'steer',
  'verbose',
  ...SAMPLING_SETTINGS.filter(({ atEndpoint }) => !atEndpoint).map(({ flag }) => flag),
];

async function openEndpoint(
  run: RunContext<SampleFlags, unknown>,
  flags: SampleFlags,
  baseUrl: string,
): Promise<Stage> {
  for (const name of ENGINE_FLAGS)
    if (run.given.has(name)) throw new UsageError(`--${name}: expected no --endpoint with it, the server decides this`);
  run.noteUnused({ threads: 'the server computes the responses' });
  const own = flags.preset === undefined ? {} : presetSettings(flags.preset, 'sample', flags.faithful === true);
  const ignored = ENGINE_FLAGS.filter((name) => name in own);
  if (ignored.length > 0)
    run.warn(`--preset ${flags.preset}: --${ignored.join(', --')} has no effect, the server decides this`);
  const { splitLogin, withoutLogins } = await import('../records/server-url.ts');
  const server = splitLogin(baseUrl);
  if (server === undefined)
    throw new UsageError(
      `--endpoint: expected a URL such as http://host:8000/v1, got ${JSON.stringify(withoutLogins(baseUrl))}`,
    );
  const { endpointFlow, sampleEndpoint } = await import('../stages/sample/endpoint.ts');
  const { openHttpClient } = await import('../http/client.ts');
  const keyName = flags['key-env'];
  const key = keyName === undefined ? undefined : process.env[keyName];
  if (keyName !== undefined && !key) throw new UsageError(`--key-env: expected a key in $${keyName}, got nothing`);
  if (key !== undefined && server.login.authorization !== undefined)
    throw new UsageError('--endpoint: expected no login in the URL with --key-env, both set the authorization header');
  const client = await openHttpClient({ timeoutMs: flags.timeout * 1000, connections: flags.concurrency });
  run.atEnd(() => client.close());
  return sampleEndpoint({
    client,
    baseUrl: server.url,
    login: server.login,
    key,
    warn: (message) => run.warn(message),
    sampling: {
      model: flags.model,
      ...samplingParamsOf(flags),
      logprobs: flags.logps,
      label: flags.label,
    },
    flow: endpointFlow(flags.concurrency),
    maxAttempts: flags.attempts,
    maxDelayMs: 600_000,
    window: flags.concurrency,
    signal: run.stop,
  });
}
