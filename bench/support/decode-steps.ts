// SPDX-License-Identifier: Apache-2.0
// Processor time per decode step of the engine of a checkout, on a model of 2 layers, 48 wide, whose kernels take little:
//   node --import tsx bench/support/decode-steps.ts CHECKOUT [ROUNDS]
// Prints one JSON line per batch: microseconds of user time, one thread, smallest of the rounds.
import { join, resolve } from 'node:path';

const [checkout = '.', rounds = '10'] = process.argv.slice(2);
const { loadPolicy } = await import(join(resolve(checkout), 'src/engine/policy.ts'));
const policy = await loadPolicy({
  model: join(resolve(checkout), 'fixtures/tiny-gqa'),
  adapters: [],
  device: 'cpu',
  dtype: 'f32',
  threads: 1,
  tokenBytes: [],
  normalisation: { scale: 1, mean: [0, 0, 0], std: [1, 1, 1] },
});

interface Batch {
  prompts: number;
  samples: number;
  /** Lengths of the two runs whose difference is the steps. */
  few: number;
  many: number;
}
const BATCHES: Batch[] = [
  { prompts: 1, samples: 1, few: 8, many: 400 },
  { prompts: 8, samples: 1, few: 8, many: 136 },
  { prompts: 64, samples: 4, few: 8, many: 40 },
];

// The fields of this engine, and those of the engine before they had the same name on both sides of the border (de355de).
function request(prompt: number, samples: number, tokens: number) {
  const words = Array.from({ length: 15 }, (_, index) => 100 + ((prompt * 97 + index * 31) % 600));
  const promptIds = Int32Array.of(1, ...words);
  const before = { prompt: promptIds, numBranches: samples, firstBranch: 0, stream: BigInt(prompt), seed: 7n };
  return {
    ...before,
    promptIds,
    images: [],
    numSamples: samples,
    firstSample: 0,
    temperature: samples > 1 ? 1 : 0,
    topP: 1,
    topK: 0,
    ...(!('facts' in policy.native) && { seed: 7 }),
    rngKey: BigInt(prompt),
    maxNewTokens: tokens,
    eosTokenIds: Int32Array.of(1 << 30),
    stopStrings: [],
    repetitionMaxPeriod: 0,
    repetitionMinRepeats: 3,
    numBeams: 1,
  };
}

/** Microseconds of user time. */
async function decode({ prompts, samples }: Batch, tokens: number): Promise<number> {
  const begin = process.cpuUsage();
  policy.pacing.pace(true);
  const all = Array.from({ length: prompts }, (_, prompt) => policy.native.generate(request(prompt, samples, tokens)));
  policy.pacing.pace(false);
  for (const { promise } of all) await promise;
  return process.cpuUsage(begin).user;
}

for (const batch of BATCHES) {
  await decode(batch, batch.few);
  let [few, many] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < Number(rounds); round++) {
    few = Math.min(few, await decode(batch, batch.few));
    many = Math.min(many, await decode(batch, batch.many));
  }
  const { prompts, samples } = batch;
  const microseconds = Number(((many - few) / (batch.many - batch.few)).toFixed(2));
  console.log(JSON.stringify({ prompts, samples, microseconds }));
}
await policy.close();
