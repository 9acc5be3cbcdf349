// SPDX-License-Identifier: Apache-2.0
import { Flags } from '@oclif/core';
import { scoreProgress } from '../cli/figures.ts';
import { modelFlags, recordFlags } from '../cli/flags.ts';
import { type ModelFlagValues, openModelOf } from '../cli/model-flags.ts';
import { RecordCommand } from '../cli/record-command.ts';
import type { RunContext } from '../cli/run-context.ts';
import type { Stage } from '../flow/stage.ts';
import type { ModelContext } from '../model/context.ts';

export default class Score extends RecordCommand {
  static override summary = 'compute log-probabilities of the texts in a record';
  static override description =
    `Adds what applies: \`logps\` and \`num_tokens\` of each of \`responses\` (with the images of its view), \`choice_logps\` of
\`choices\`, \`policy_chosen_logps\` and \`policy_rejected_logps\` of a pair, \`policy_response_logps\` of \`response\`. A log-probability is
the sum over the response's tokens and its end token, over the full vocabulary at temperature 1, in nats.

--view original writes \`logps_original\` of all \`responses\` instead: how likely each response is given the clean image, whatever view it
was sampled for (see pair --rule gap).`;
  static override usage = 'score --model DIR [FILE...]';
  static override examples = [
    '<%= config.bin %> score --model llava-1.5-7b-hf --adapter runs/seva pairs.ndjson',
    '<%= config.bin %> import seed-bench SEED-Bench.json --image-root images | <%= config.bin %> score --model llava',
  ];
  static override flags = {
    ...recordFlags,
    ...modelFlags,
    view: Flags.option({ options: ['original'] as const })({
      helpValue: 'original',
      summary: 'score all responses given the clean image, as logps_original',
    }),
    drift: Flags.boolean({
      exclusive: ['view'],
      summary: 'check a server: score its responses under common input mistakes and in another dtype (see eval drift)',
    }),
    verbose: Flags.boolean({ summary: 'print the memory plan to stderr' }),
  };

  async run(): Promise<void> {
    await this.runStage(Score, async (run) => {
      run.noteUnused({ seed: 'nothing is random here' });
      const { score, scoreOnOriginal } = await import('../stages/score.ts');
      const { flags } = run;
      const { context } = await openModelOf(run, flags);
      run.showFigures(scoreProgress());
      if (flags.drift) return driftStage(run, context);
      return flags.view === undefined ? score(context) : scoreOnOriginal(context);
    });
  }
}

/** Loads the model again in the other dtype, and without its adapters if it has any. */
async function driftStage(run: RunContext<ModelFlagValues, unknown>, context: ModelContext): Promise<Stage> {
  const { scoreDrift } = await import('../stages/score-drift.ts');
  const other = context.engine.info.dtype === 'bf16' ? 'f32' : 'bf16';
  const forms = new Map([[`dtype:${other}`, (await openModelOf(run, { ...run.flags, dtype: other })).context]]);
  if (run.flags.adapter !== undefined)
    forms.set('no-adapter', (await openModelOf(run, { ...run.flags, adapter: [] })).context);
  return scoreDrift(context, forms);
}
