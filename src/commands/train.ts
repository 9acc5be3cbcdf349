// SPDX-License-Identifier: Apache-2.0
import { withPreset } from '../cli/preset.ts';
import { presetHelp } from '../cli/presets.ts';
import { initRank, ofRank, ranksOf } from '../cli/ranks.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { trainFlags } from '../cli/train-flags.ts';
import { trainingRun } from '../cli/train-run.ts';

export default class Train extends RecordCommand {
  static override summary = 'align a model with preference data or demonstrations: DPO and its family, SFT';
  static override description =
    `Reads all records, then trains a LoRA adapter (on request the projector or the language model) and writes it to the directory of -o
in PEFT's layout. Metrics are printed to stdout, one row per step, with trl's names. The reference log-probabilities come from \`ref_*\` of the records; if
absent, from the model before the first step. On SIGTERM or SIGUSR1 the run saves and exits 75; --resume continues it, with the same result.
With mpirun or srun --mpi=pmix the processes train data-parallel: each takes its share of every step's records (see vpref-slurm(7)).

--faithful reproduces quirks of the published code, which are fixed otherwise:
  seva-7b, seva-13b   every record is used twice per epoch; the projector is trained too, at the adapter's learning rate

--preset sets these, unless given on the command line (sources in METHODS.md):
${presetHelp('train')}`;
  static override inapplicable = {
    shard: 'a run trains on all of its records',
    'on-error': 'training never drops records silently: one bad record stops the run before step 1',
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
