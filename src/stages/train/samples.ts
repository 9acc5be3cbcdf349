// SPDX-License-Identifier: Apache-2.0
// Samples of the current model during training: responses to fixed prompts, as rows of one file, to compare steps of a run.
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerEngine } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { RunError } from '../../records/error.ts';
import { promptMessages } from '../../records/prompt.ts';
import { SAMPLING_DEFAULTS } from '../../records/sampling-settings.ts';
import { sample } from '../sample.ts';
import { rowsOfRank } from './order.ts';
import { everyRanks, failedToWrite } from './reference.ts';

/** One response; `image`: the prompt's first image. */
export interface SampleRow {
  step: number;
  id: string;
  prompt: string;
  response: string;
  image?: string;
}

export interface SamplesOptions {
  /** Output directory of the run. */
  dir: string;
  /** Prompts. */
  rows: readonly Row[];
  /** Steps between two rounds of samples; also samples before the first and after the last step. */
  every: number;
  totalSteps: number;
  seed: number;
  context: ModelContext;
  /** The same on all ranks. */
  isStopped(): Promise<boolean>;
}

/** Long enough to judge a response. */
const MAX_NEW_TOKENS = 256;

/** Greedy, unless a record's sampling_params say otherwise. */
const GREEDY = {
  ...SAMPLING_DEFAULTS,
  maxNewTokens: MAX_NEW_TOKENS,
  stop: [],
  views: 'original',
  logps: false,
};

export class Samples {
  readonly #options: SamplesOptions;
  readonly #path: string;
  #done = new Set<number>();

  constructor(options: SamplesOptions) {
    this.#options = options;
    this.#path = join(options.dir, 'samples.ndjson');
  }

  /** Starts in the state after `step`: deletes later rows and those of incomplete steps; all rows if `isNew`. */
  async start(trainer: TrainerEngine, step: number, isNew: boolean): Promise<void> {
    const kept = trainer.rank === 0 && !isNew ? await this.#wholeSteps(step) : new Map<number, string>();
    if (trainer.rank === 0) {
      const partial = `${this.#path}.partial`;
      await writeFile(partial, [...kept.values()].join('')).catch(failedToWrite(partial));
      await rename(partial, this.#path);
    }
    this.#done = new Set(await everyRanks(trainer, [...kept.keys()]));
  }

  isDue(step: number, isLast: boolean): boolean {
    const { every, totalSteps } = this.#options;
    return (step % every === 0 || step === totalSteps || isLast) && !this.#done.has(step);
  }

  /** Every rank samples its share of the prompts; rank 0 writes all. False if the run was stopped meanwhile. */
  async run(trainer: TrainerEngine): Promise<boolean> {
    const { rows, isStopped } = this.#options;
    const { rank, numRanks, stepsDone: step } = trainer;
    const numbers = Uint32Array.from({ length: rows.length }, (_, number) => number);
    const own = Array.from(rowsOfRank(numbers, rank, numRanks), (number) => rows[number]!);
    const responses = await this.#answers(own);
    if (await isStopped()) return false;
    const all = await everyRanks(
      trainer,
      own.map((row, index) => sampleRow(step, row, responses[index]!)),
    );
    if (rank === 0) await append(this.#path, all.map((row) => `${JSON.stringify(row)}\n`).join(''));
    this.#done.add(step);
    return true;
  }

  // Responses as from `vpref sample`; fewer if the run is stopped.
  async #answers(rows: readonly Row[]): Promise<string[]> {
    const { seed, context } = this.#options;
    const responses: string[] = [];
    for await (const { row, records, error } of sample({ ...GREEDY, seed }, context)(each(rows))) {
      if (error !== undefined && context.stop?.aborted) return responses;
      if (error !== undefined)
        throw error.cause ?? new RunError(error.code, `${row.source}:${row.line}: ${error.message}`);
      responses.push(records[0]!.responses!.at(-1)!.text);
    }
    return responses;
  }

  // The rows of every complete step up to `last`.
  async #wholeSteps(last: number): Promise<Map<number, string>> {
    const text = await readFile(this.#path, 'utf8').catch(() => '');
    const steps = new Map<number, string[]>();
    for (const line of text.match(/.*\n/g) ?? []) {
      const { step } = JSON.parse(line) as SampleRow;
      steps.set(step, [...(steps.get(step) ?? []), line]);
    }
    const isWhole = ([step, lines]: [number, string[]]) => step <= last && lines.length === this.#options.rows.length;
    return new Map([...steps].filter(isWhole).map(([step, lines]) => [step, lines.join('')]));
  }
}

function sampleRow(step: number, { record }: Row, response: string): SampleRow {
  const image = record.images?.[0];
  return { step, id: record.id, prompt: promptText(record), response, ...(image !== undefined && { image }) };
}

/** The last user turn. */
function promptText({ prompt }: Row['record']): string {
  const content = promptMessages(prompt).findLast(({ role }) => role === 'user')?.content ?? '';
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

async function* each<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

async function append(path: string, text: string): Promise<void> {
  const file = await open(path, 'a').catch(failedToWrite(path));
  try {
    await file.write(text).catch(failedToWrite(path));
    await file.sync();
  } finally {
    await file.close();
  }
}
