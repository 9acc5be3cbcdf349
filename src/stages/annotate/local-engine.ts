// SPDX-License-Identifier: Apache-2.0
// The native engine as a local judge: each question is one record for `sample`, so judging draws exactly as sampling does.
import type { Message, VprefRecord } from '../../records/record.ts';
import type { ModelContext } from '../model-context.ts';
import { type SampleOptions, sample } from '../sample.ts';
import type { JudgeParameters } from './judge.ts';
import type { LocalJudge, LocalReply } from './providers/local.ts';

/** A model in memory, as load-model opens it. */
export interface LoadedModel {
  context: ModelContext;
  close(): Promise<void>;
}

/** The judge of this model; closing it closes the model. */
export function engineJudge({ context, close }: LoadedModel): LocalJudge {
  return {
    fingerprint: context.fingerprint.model,
    generate: async (messages, images, parameters, signal) => {
      const record: VprefRecord = { id: 'judge', prompt: messages as Message[], images };
      const stage = sample(sampleOptions(parameters), { ...context, stop: signal });
      for await (const { records, error } of stage(oneRow(record))) {
        if (error) return { error };
        const [response] = records[0]!.responses!;
        const { text, finish_reason = 'stop', num_tokens = 0 } = response!;
        return { text, finish_reason, num_tokens } satisfies LocalReply;
      }
      throw signal.reason;
    },
    close,
  };
}

function sampleOptions(parameters: JudgeParameters): SampleOptions {
  return {
    n: 1,
    temperature: parameters.temperature ?? 0,
    topP: parameters.topP ?? 1,
    topK: 0,
    maxNewTokens: parameters.maxTokens,
    stop: parameters.stop ?? [],
    beams: 1,
    repetitionMaxPeriod: 0,
    views: 'original',
    logps: false,
    seed: parameters.seed ?? 0,
  };
}

async function* oneRow(record: VprefRecord) {
  yield { record, source: 'judge', line: 1 };
}
