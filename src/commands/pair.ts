// SPDX-License-Identifier: Apache-2.0
import { pairProgress } from '../cli/figures.ts';
import { FAITHFUL_RULES, figuresOf, noteReport, pairFlags, pairOptions } from '../cli/pair-options.ts';
import { warnNoQuirk, withPreset } from '../cli/preset.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { newPairReport, pair } from '../stages/pair/index.ts';

export default class Pair extends RecordCommand {
  static override summary = 'make preference data from responses';
  static override description = `Rules:
  seva       response to the clean image over that to each distorted view, unless equal
  gap        response to the clean image over those to views, --gap nats less likely
  score      best sum of metrics over one drawn from those --margin lower
  best-of-n  best sum of metrics over the lowest
  steerlm    every graded response, with its grades in the prompt
  sft        one response: reference, judge's own, or best (rejection sampling)
  kto        single responses, desirable or not, from pairs or scores
  given      existing pairs, for flips, filters and image negatives

Only annotations with outcome ok count; several judge runs are averaged.

--faithful reproduces quirks of the published code, which are fixed otherwise:
  seva       line breaks are deleted from both responses, gluing words;
             preset seva-7b keeps 4,300 OCR-VQA and 6,500 TextVQA pairs
  score      chosen and rejected may be the same text`;
  static override usage = 'pair --rule RULE|--preset NAME [FILE...]';
  static override examples = [
    '<%= config.bin %> pair --rule seva sampled.ndjson',
    '<%= config.bin %> score --view original --model llava sampled.ndjson | <%= config.bin %> pair --rule gap --gap 2..20 --negatives 3',
    '<%= config.bin %> pair --rule score --margin 2 annotated.ndjson',
    '<%= config.bin %> pair --rule sft --from best --min-score 12 annotated.ndjson',
    '<%= config.bin %> pair --rule given --flip 0.25 --seed 1 pairs.ndjson',
  ];
  static override flags = pairFlags;

  async run(): Promise<void> {
    await this.runStage(Pair, (run) => {
      const flags = withPreset(run.flags, 'pair', run.given);
      const options = pairOptions(flags);
      if (options.whole) run.needAllRows(flags.balance ? '--balance' : '--max-pairs');
      if (flags.faithful && !FAITHFUL_RULES.includes(options.rule)) warnNoQuirk(run, `rule ${options.rule}`);
      run.noteUnused({ threads: 'pairs are made by one thread' });
      const report = newPairReport();
      run.showFigures(pairProgress(run.counts));
      if (flags.preset !== undefined && options.rule === 'seva' && !flags.faithful)
        run.note('line breaks in answers are kept; the published code deletes them (--faithful)');
      run.atEnd(() => noteReport(report, run));
      run.addFigures(() => figuresOf(options.rule, report));
      return pair(options, report);
    });
  }
}
