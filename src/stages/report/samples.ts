// SPDX-License-Identifier: Apache-2.0
// Samples: responses to the same prompts during training (train --sample-every).
import type { VprefRecord } from '../../records/record.ts';
import type { JsonObject, RowSection, SampledPrompt } from './data.ts';
import type { ImageList } from './images.ts';
import { promptText } from './prompt-text.ts';

/** Maximum prompts shown, and maximum different responses of a run to one prompt. */
const MAX_PROMPTS = 200;
const MAX_ANSWERS = 40;

interface Gathered {
  id: string;
  prompt: string;
  images: string[];
  /** Responses by run and step. */
  runs: Map<string, Map<number, string>>;
}

export class SampleSection implements RowSection<SampledPrompt[]> {
  readonly #images: ImageList;
  /** Keyed by id and prompt, because runs may use one id for different prompts. */
  readonly #prompts = new Map<string, Gathered>();
  readonly #leftOut = new Set<string>();

  constructor(images: ImageList) {
    this.#images = images;
  }

  take(run: string, row: JsonObject): boolean {
    const { step, id, response } = row;
    if (typeof step !== 'number' || typeof id !== 'string' || typeof response !== 'string') return false;
    const prompt = row.prompt === undefined ? '' : promptText(row as unknown as VprefRecord);
    const key = JSON.stringify([id, prompt]);
    if (!this.#prompts.has(key) && this.#prompts.size >= MAX_PROMPTS) {
      this.#leftOut.add(key);
      return true;
    }
    const images = [row.image ?? row.images ?? []].flat().filter((source) => typeof source === 'string');
    const gathered = this.#prompts.get(key) ?? { id, prompt, images, runs: new Map() };
    this.#prompts.set(key, gathered);
    const answers = gathered.runs.get(run) ?? new Map<number, string>();
    gathered.runs.set(run, answers);
    // A resumed run repeats the samples after its checkpoint.
    answers.set(step, response);
    return true;
  }

  /** Prompts that are not shown. */
  get numLeftOut(): number {
    return this.#leftOut.size;
  }

  data(): SampledPrompt[] {
    return [...this.#prompts.values()].map(({ id, prompt, images, runs }) => ({
      ...{ id, prompt, images: images.map((source) => this.#images.place(source)) },
      runs: [...runs].map(([run, answers]) => ({ run, ...changes(answers) })),
    }));
  }
}

/** One response per range of steps without change; of very many, the first and the last ones. */
function changes(answers: ReadonlyMap<number, string>): Omit<SampledPrompt['runs'][number], 'run'> {
  const all: { from: number; to: number; text: string }[] = [];
  for (const [step, text] of [...answers].sort(([a], [b]) => a - b)) {
    const last = all.at(-1);
    if (last?.text === text) last.to = step;
    else all.push({ from: step, to: step, text });
  }
  const numLeftOut = Math.max(0, all.length - MAX_ANSWERS);
  const kept = numLeftOut === 0 ? all : [...all.slice(0, MAX_ANSWERS / 2), ...all.slice(-MAX_ANSWERS / 2)];
  return { answers: kept, numLeftOut };
}
