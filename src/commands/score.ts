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
  static override summary = 'log-probabilities of the texts that a record holds';
  static override description =
    `Scores what is there: \`logps\` and \`num_tokens\` of each of \`responses\` (with the images of its view), \`choice_logps\` of
\`choices\`, \`policy_chosen_logps\` and \`policy_rejected_logps\` of a pair, \`policy_response_logps\` of \`response\`. A log-probability is
summed over the response's tokens and its end token, full vocabulary, temperature 1, in nats.

--view original writes \`logps_original\` of all \`responses\` instead: how likely each answer is under the clean image, whatever view it
was given to (pair --rule gap).`;
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
      summary: 'score all responses under the clean image, as logps_original',
    }),
    drift: Flags.boolean({
      exclusive: ['view'],
      summary:
        'compare with a server: score its answers as it might read the record by mistake, and in another dtype (eval drift)',
    }),
    verbose: Flags.boolean({ summary: 'tell the memory plan on stderr' }),
  };

  async run(): Promise<void> {
    await this.runStage(Score, async (run) => {
      run.noteUnused({ seed: 'nothing is drawn at random here' });
      const { score, scoreOnOriginal } = await import('../stages/score.ts');
      const { flags } = run;
      const { context } = await openModelOf(run, flags);
      const { stage, figures } = scoreProgress(
        flags.drift
          ? await driftStage(run, context)
          : flags.view === undefined
            ? score(context)
            : scoreOnOriginal(context),
      );
      run.showFigures(figures);
      return stage;
    });
  }
}

/** The model is loaded again in the other dtype, and without its adapters where it has some. */
async function driftStage(run: RunContext<ModelFlagValues, unknown>, context: ModelContext): Promise<Stage> {
  const { scoreDrift } = await import('../stages/score-drift.ts');
  const other = context.engine.info.dtype === 'bf16' ? 'f32' : 'bf16';
  const forms = new Map([[`dtype:${other}`, (await openModelOf(run, { ...run.flags, dtype: other })).context]]);
  if (run.flags.adapter !== undefined)
    forms.set('no-adapter', (await openModelOf(run, { ...run.flags, adapter: [] })).context);
  return scoreDrift(context, forms);
}
