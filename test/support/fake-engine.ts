// SPDX-License-Identifier: Apache-2.0
// An engine that answers by rule, and a model context around it with the demo model's own tokenizer and template.
import type {
  Generated,
  GenerateRequest,
  PolicyEngine,
  PolicyInfo,
  Scored,
  ScoreRequest,
} from '../../src/engine/requests.ts';
import type { Row, RowResult, Stage } from '../../src/flow/stage.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import type { ModelContext } from '../../src/stages/model-context.ts';
import { loadChatTemplate } from '../../src/text/chat-template.ts';
import { loadTokenizer } from '../../src/text/tokenizer.ts';

const DEMO = 'fixtures/demo/tiny-llava';

const INFO: PolicyInfo = {
  modelType: 'llava',
  device: 'cpu',
  dtype: 'f32',
  vocabSize: 832,
  maxPositions: 512,
  eosIds: [2],
  vision: { imageSize: 4, imageRows: 64, imageTokenId: 787 },
  numParameters: 1,
  storedDtype: 'f16',
  threads: 1,
  notes: [],
};

export interface FakeEngine extends PolicyEngine {
  generated: GenerateRequest[];
  scored: ScoreRequest[];
}

/** `answer` gives the text of one answer; the log-probability of a token is minus its id over 1000. */
function fakeEngine(
  answer: (request: GenerateRequest, branch: number) => string | Promise<string>,
  encode: (text: string) => number[],
): FakeEngine {
  const engine: FakeEngine = {
    info: INFO,
    generated: [],
    scored: [],
    async generate(request) {
      engine.generated.push(request);
      return Promise.all(
        Array.from({ length: request.n }, async (_, branch): Promise<Generated> => {
          const ids = Int32Array.from([...encode(await answer(request, branch)), 2]);
          return { ids, logps: sum(logpsOf(ids)), finishReason: 'stop' };
        }),
      );
    },
    async score(request) {
      engine.scored.push(request);
      return request.branches.map(logpsOf);
    },
  };
  return engine;
}

function logpsOf(ids: Int32Array): Scored {
  return Float32Array.from(ids, (id) => -id / 1000);
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

export async function fakeContext(
  answer: (request: GenerateRequest, branch: number) => string | Promise<string> = () => 'Yes.',
  overrides: Partial<ModelContext> = {},
): Promise<ModelContext & { engine: FakeEngine }> {
  const tokenizer = await loadTokenizer(DEMO);
  return {
    tokenizer,
    engine: fakeEngine(answer, (text) => tokenizer.encode(text)),
    loadTemplate: (name, args) => loadChatTemplate(name, DEMO, tokenizer, { hasVision: true, ...(args && { args }) }),
    template: { otherwise: 'auto' },
    imageMode: { otherwise: 'pad' },
    // The name and the mode stand for the pixels.
    loadPixels: async (image, mode) => new TextEncoder().encode(`${image} ${mode}`),
    imageDigest: async (image) => `digest of ${image}`,
    fingerprint: { model: 'sha256:m', adapter: null },
    ...overrides,
  } as ModelContext & { engine: FakeEngine };
}

export function rowOf(record: Partial<VprefRecord>, line = 1): Row {
  return { record: { id: `r${line}`, prompt: 'What is it?', ...record }, source: 'test', line };
}

export async function runStage(stage: Stage, rows: Row[]): Promise<RowResult[]> {
  async function* input() {
    yield* rows;
  }
  const results: RowResult[] = [];
  for await (const result of stage(input())) results.push(result);
  return results;
}

/** The single output record of a single row. Fails with the row's error. */
export async function recordFrom(stage: Stage, row: Row): Promise<VprefRecord> {
  const [result] = await runStage(stage, [row]);
  if (result!.error !== undefined) throw result!.error.cause ?? new Error(result!.error.message);
  return result!.records[0]!;
}
