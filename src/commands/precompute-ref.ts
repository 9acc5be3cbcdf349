// SPDX-License-Identifier: Apache-2.0
import { Flags } from '@oclif/core';
import { modelFlags, recordFlags } from '../cli/flags.ts';
import { openModelOf } from '../cli/model-flags.ts';
import { presetFlags, withPreset } from '../cli/preset.ts';
import { RecordCommand } from '../cli/record-command.ts';

export default class PrecomputeRef extends RecordCommand {
  static override summary = "store the reference's log-probabilities in the data";
  static override description =
    `Adds \`ref_chosen_logps\` and \`ref_rejected_logps\` (a list if \`rejected\` is one), \`ref_chosen_logps_rejected_images\` if
there are image-side negatives, \`ref_response_logps\` for \`response\`, and \`ref\`: the model and inputs that gave them. A record that has them from this
reference passes through; one that has them from another is an error. The prompt and its image are computed once for all responses.`;
  static override usage = 'precompute-ref --model DIR [FILE...]';
  static override examples = [
    '<%= config.bin %> precompute-ref --model llava-1.5-7b-hf pairs.ndjson -o pairs.ref.ndjson',
    '<%= config.bin %> precompute-ref --model llava --shard auto pairs.ndjson -o part.$SLURM_ARRAY_TASK_ID.ndjson --resume',
  ];
  static override flags = {
    ...recordFlags,
    ...modelFlags,
    preset: presetFlags.preset,
    verbose: Flags.boolean({ summary: 'print the memory plan to stderr' }),
  };

  async run(): Promise<void> {
    await this.runStage(PrecomputeRef, async (run) => {
      run.noteUnused({ seed: 'nothing is random here' });
      run.showFigures({ unit: 'pairs' });
      const { precomputeRef } = await import('../stages/precompute-ref.ts');
      const flags = withPreset(run.flags, 'precompute-ref', run.given);
      return precomputeRef((await openModelOf(run, flags)).context);
    });
  }
}
