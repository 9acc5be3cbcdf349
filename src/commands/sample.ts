// SPDX-License-Identifier: Apache-2.0
import { sampleProgress } from '../cli/figures.ts';
import { warnNoQuirk, withPreset } from '../cli/preset.ts';
import { hasQuirk } from '../cli/presets.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { openSample, sampleFlags } from '../cli/sample-options.ts';
import { UsageError } from '../records/error.ts';

export default class Sample extends RecordCommand {
  static override summary = "generate responses to each record's prompt";
  static override description =
    `Adds \`responses\` and \`sampling\`. Decoding is greedy unless --temperature is given. Random draws depend only on the seed, the record's id, the
view, and the indices of response and token, never on order, batches or shards. A record's \`sampling_params\` override the flags.
Assistant turns with content null are generated in order.

--faithful reproduces quirks of the published code, which are fixed otherwise:
  seva-7b, seva-13b   responses are sampled with the template llava_v1, though training uses vicuna_v1`;
  static override usage = 'sample --model DIR [FILE...]';
  static override examples = [
    '<%= config.bin %> sample --model llava-1.5-7b-hf questions.ndjson',
    '<%= config.bin %> augment --op diffusion:step=800 q.ndjson | <%= config.bin %> sample --model llava --preset seva-7b',
    '<%= config.bin %> sample --model llava -n 4 --temperature 0.7 --top-p 0.9 questions.ndjson -o sampled.ndjson',
    '<%= config.bin %> sample --endpoint http://localhost:8000/v1 --model qwen questions.ndjson',
  ];
  static override flags = sampleFlags;

  async run(): Promise<void> {
    await this.runStage(Sample, async (run) => {
      const flags = withPreset(run.flags, 'sample', run.given);
      const hasNoQuirk = !hasQuirk(flags.preset, 'sample') || run.given.has('template') || flags.endpoint !== undefined;
      if (flags.faithful && hasNoQuirk)
        warnNoQuirk(run, flags.preset === undefined ? 'sampling without a preset' : `sampling as ${flags.preset}`);
      if (flags.beams > 1 && (flags.temperature > 0 || flags.n > 1))
        throw new UsageError('--beams: expected one response without sampling, got --temperature or -n with it');
      if (flags.n > 1 && flags.temperature === 0 && flags.beams === 1)
        run.warn(`-n ${flags.n} without --temperature: greedy responses to one prompt are all equal`);
      run.showFigures(sampleProgress());
      return openSample(run, flags);
    });
  }
}
