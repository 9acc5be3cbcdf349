// SPDX-License-Identifier: Apache-2.0
// The annotate stage with everything real, options small.

import type { RowResult, Stage } from '../../src/flow/stage.ts';
import { type Clock, monotonicClock } from '../../src/http/flow.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { type AnnotateSettings, openAnnotate } from '../../src/stages/annotate/open.ts';
import { describeTally } from '../../src/stages/annotate/tally.ts';
import { runStage } from './fake-engine.ts';

/** Waits that are twenty times as short. */
export const hastyClock: Clock = {
  now: () => monotonicClock.now() * 20,
  sleep: (ms, signal) => monotonicClock.sleep(ms / 20, signal),
};

/** Settings of a run against a local server. */
export function annotateSettings(
  judge: string,
  more: Partial<AnnotateSettings> & { baseUrl?: string; timeoutMs?: number } = {},
): AnnotateSettings {
  const { baseUrl, timeoutMs = 10_000, ...settings } = more;
  return {
    judge,
    judgeOptions: {
      baseUrl,
      timeoutMs,
      concurrency: 16,
      environment: {
        GEMINI_API_KEY: 'test-key-gemini',
        OPENAI_API_KEY: 'test-key-openai',
        ANTHROPIC_API_KEY: 'test-key-anthropic',
      },
      warn: () => {},
      openModel: () => Promise.reject(new Error('no engine here')),
    },
    guide: 'helpsteer',
    runs: 1,
    seed: 0,
    shuffle: true,
    overrides: {},
    maxAttempts: 4,
    maxDelayMs: 60_000,
    cache: null,
    clock: hastyClock,
    ...settings,
  };
}

/** Rows of a file with these records. */
export async function* asRows(records: Iterable<VprefRecord>) {
  let line = 0;
  for (const record of records) yield { record, source: 'test.ndjson', line: ++line };
}

/** All results of the stage over these records. */
export async function runRecords(stage: Stage, records: Iterable<VprefRecord>): Promise<RowResult[]> {
  return runStage(
    stage,
    [...records].map((record, index) => ({ record, source: 'test.ndjson', line: index + 1 })),
  );
}

/** Runs annotate over the records. */
export async function annotateAll(records: Iterable<VprefRecord>, settings: AnnotateSettings) {
  const { stage, tally } = await openAnnotate(settings);
  return { results: await runRecords(stage, records), summary: describeTally(tally) };
}

/** The one entry of a result's record. */
export function entryOf(result: RowResult) {
  const { annotations = [] } = result.records[0] ?? { annotations: [] };
  if (annotations.length !== 1) throw new Error(`expected one entry, got ${annotations.length}`);
  return annotations[0]!;
}
