// SPDX-License-Identifier: Apache-2.0
// An engine that answers by rule, and a model context around it with the demo model's own tokenizer and template.

import type { ImagePlan, VisionFamily } from '../../families/family.ts';
import { familyNamed } from '../../families/index.ts';
import type {
  Generated,
  GenerateRequest,
  ImageInput,
  PolicyEngine,
  PolicyInfo,
  Scored,
  ScoreRequest,
} from '../../src/engine/requests.ts';
import type { Row, RowResult, Stage } from '../../src/flow/stage.ts';
import type { ModelContext, ModelVision } from '../../src/model/context.ts';
import type { VprefRecord } from '../../src/records/record.ts';
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
  vision: { imageTokenId: 787 },
  modules: { text: 'model.language_model.', connector: ['multi_modal_projector'], connectorParts: [] },
  numParameters: 1,
  quantize: 'none',
  storedForm: 'none',
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
    layout: ({ crops }) => ({
      runs: crops.map(() => 64),
      numRows: 64 * crops.length,
      positionSpan: 64 * crops.length,
      numFeatures: 64 * crops.length,
    }),
    generated: [],
    scored: [],
    async generate(request) {
      engine.generated.push(request);
      return Promise.all(
        Array.from({ length: request.numSamples }, async (_, branch): Promise<Generated> => {
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
    loadTemplate: (name, args) =>
      loadChatTemplate(name, DEMO, tokenizer, { image: LLAVA_MARKS, ...(args && { args }) }),
    template: { otherwise: 'auto' },
    vision: llavaVision(),
    // The name and the mode stand for the pixels.
    loadImage: async (source, { mode }) => pixelsOf(`${source} ${mode}`),
    imageShape: async () => ({ height: 4, width: 4, crops: [{ height: 4, width: 4 }] }),
    imageDigest: async (image) => `digest of ${image}`,
    fingerprint: { model: 'sha256:m', adapter: null },
    ...overrides,
  } as ModelContext & { engine: FakeEngine };
}

/** How LLaVA's texts have images. */
export const LLAVA_MARKS = { mark: '<image>', onOwnLine: true };

/** The image side of the demo model. */
export function llavaVision(asked: ModelVision['asked'] = {}): ModelVision {
  const family = familyNamed('llava').vision as VisionFamily;
  const config = { vision_config: { image_size: 4 } };
  const plan: ImagePlan = family.readPlan({ dir: DEMO, config, processor: {}, imageProcessor: undefined });
  return { family, name: 'llava', plan, asked, tokens: { id: 787, token: '<image>' } };
}

function pixelsOf(text: string): ImageInput {
  return { height: 4, width: 4, crops: [{ height: 4, width: 4, pixels: new TextEncoder().encode(text) }] };
}

/** The text that stands for an image's pixels. */
export function textOfPixels({ crops }: ImageInput): string {
  return new TextDecoder().decode(crops[0]!.pixels);
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
