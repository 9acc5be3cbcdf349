// SPDX-License-Identifier: Apache-2.0
import { pairProgress } from '../cli/figures.ts';
import { FAITHFUL_RULES, figuresOf, pairFlags, pairOptions, tellReport } from '../cli/pair-options.ts';
import { warnNoQuirk, withPreset } from '../cli/preset.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { newPairReport, pair } from '../stages/pair/index.ts';

export default class Pair extends RecordCommand {
  static override summary = 'make preference data out of answers';
  static override description = `Rules:
  seva       clean image's answer against each distorted view's, unless equal
  gap        clean image's answer against those of views within --gap of it
  score      best sum of metrics against one drawn from --margin below
  best-of-n  best sum against the lowest
  steerlm    every graded answer, its grades told in the prompt
  sft        one answer: reference, judge's own, or best (rejection sampling)
  kto        single answers, desirable or not, out of pairs or scores
  given      pairs that are there, for flips, filters and image negatives

Only annotations with outcome ok count; several judge runs are averaged.

--faithful keeps what the published code does and this command mends otherwise:
  seva       line breaks are deleted from both answers, gluing words;
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
      run.atEnd(() => tellReport(report, run));
      run.addFigures(() => figuresOf(options.rule, report));
      return pair(options, report);
    });
  }
}
