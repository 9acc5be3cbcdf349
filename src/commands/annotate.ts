// SPDX-License-Identifier: Apache-2.0
import { annotateFigures, annotateFlags, annotateSettings } from '../cli/annotate-options.ts';
import { annotateProgress } from '../cli/figures.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { openAnnotate, submitAnnotate, surveyAnnotate } from '../stages/annotate/open.ts';
import { computesHere } from '../stages/annotate/providers/index.ts';
import { describeMass, describeTally } from '../stages/annotate/tally.ts';

export default class Annotate extends RecordCommand {
  static override summary = "have a judge grade each record's responses";
  static override description =
    'Appends one entry per judge run to `annotations`. The entry of a failed request has an outcome and no score; its record is kept, and the exit code is 3.';
  static override usage = 'annotate --judge JUDGE [--guide NAME|FILE] [FILE...]';
  static override examples = [
    '<%= config.bin %> annotate --judge gemini:gemini-2.5-pro --guide helpsteer --dry-run sampled.ndjson',
    '<%= config.bin %> annotate --judge gemini:gemini-2.5-pro --max-cost 20 sampled.ndjson -o annotated.ndjson',
    '<%= config.bin %> annotate --judge openai:qwen --base-url http://localhost:8000/v1 --guide mm-vet --runs 5 answers.ndjson',
    "<%= config.bin %> annotate --judge 'exec:python3 judge.py' sampled.ndjson",
  ];
  static override flags = annotateFlags;

  async run(): Promise<void> {
    const { flags } = await this.parse({ flags: annotateFlags, strict: false });
    if (flags['dry-run']) return this.runTable(Annotate, (run) => surveyAnnotate(run.records(), annotateSettings(run)));
    if (flags.batch === 'submit')
      return this.runTable(Annotate, (run) => submitAnnotate(run.records(), annotateSettings(run)));
    await this.runStage(Annotate, async (run) => {
      const settings = annotateSettings(run);
      const { stage, tally } = await openAnnotate(settings);
      run.atEnd(() => {
        run.note(describeTally(tally));
        const doubt = describeMass(tally);
        if (doubt !== undefined) run.warn(doubt);
      });
      run.showFigures(annotateProgress(tally));
      if (!computesHere(run.flags.judge)) run.noteUnused({ threads: 'only local judges use threads' });
      run.addFigures(() => annotateFigures(settings, tally));
      return stage;
    });
  }
}
