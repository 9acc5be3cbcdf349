// SPDX-License-Identifier: Apache-2.0
import { withPreset } from '../cli/preset.ts';
import { presetHelp } from '../cli/presets.ts';
import { initRank, ofRank, ranksOf } from '../cli/ranks.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { trainFlags } from '../cli/train-flags.ts';
import { trainingRun } from '../cli/train-run.ts';

export default class Train extends RecordCommand {
  static override summary = 'align a model with preference data or answers: DPO and its family, SFT';
  static override description =
    `Reads all records, then trains a LoRA adapter (or, when asked, the projector or the language model) and writes it to the directory of -o
in PEFT's layout. Metrics go to stdout, one row a step, under trl's names. The reference is what \`ref_*\` of the records say, or, where they are
absent, the model as it stands before the first step. Stopped by SIGTERM or SIGUSR1 it saves and exits 75; --resume goes on as if it had not been.
Started by mpirun or srun --mpi=pmix, the processes train together: each takes its share of every step's records (see vpref-slurm(7)).

--faithful keeps what the published code does and this command mends otherwise:
  seva-7b, seva-13b   every record is taken twice an epoch; the projector is trained too, at the rate of the adapter

--preset sets, where the command line does not (sources in METHODS.md):
${presetHelp('train')}`;
  static override inapplicable = {
    shard: 'a run learns from all of its records',
    'on-error': 'what a model learns from is not left to chance: a bad record ends the run before its first step',
  };
  static override usage = 'train --model DIR -o DIR [--method dpo|sft] [FILE...]';
  static override examples = [
    '<%= config.bin %> train pairs.ndjson --model llava --preset seva-7b -o runs/seva > runs/seva.metrics.ndjson',
    '<%= config.bin %> train pairs.ndjson --model llava --loss sigmoid:1,sft:0.1 --lora-r 64 --lr 5e-5 --batch-size 16 -o runs/dpo',
    '<%= config.bin %> train best.ndjson --model llava --method sft --epochs 3 -o runs/sft --save-every 50 --resume',
  ];
  static override flags = trainFlags;

  async run(): Promise<void> {
    await this.runTable(
      Train,
      async function* (run) {
        const ranks = ranksOf(run.flags);
        try {
          yield* trainingRun(run, await initRank(ranks, withPreset(run.flags, 'train', run.given), run), ranks);
        } catch (error) {
          throw ofRank(error, ranks);
        }
      },
      { toStdout: true },
    );
  }
}
