// SPDX-License-Identifier: Apache-2.0
import { Flags, type Interfaces } from '@oclif/core';
import { annotateProgress } from '../cli/figures.ts';
import { integerFlag, numberFlag, recordFlags } from '../cli/flags.ts';
import { RecordCommand } from '../cli/record-command.ts';
import type { RunContext } from '../cli/run-context.ts';
import { type AnnotateSettings, openAnnotate, submitAnnotate, surveyAnnotate } from '../stages/annotate/open.ts';
import { BATCH_PROVIDERS, computesHere, JUDGE_FORMS } from '../stages/annotate/providers/index.ts';
import { describeTally, type Tally } from '../stages/annotate/tally.ts';

export default class Annotate extends RecordCommand {
  static override summary = "have a judge grade each record's responses";
  static override description =
    'Appends one entry a run to `annotations`. A call that fails is a state of its entry, never a score; the row is kept and the exit code is 3.';
  static override usage = 'annotate --judge JUDGE [--guide NAME|FILE] [FILE...]';
  static override examples = [
    '<%= config.bin %> annotate --judge gemini:gemini-2.5-pro --guide helpsteer --dry-run sampled.ndjson',
    '<%= config.bin %> annotate --judge gemini:gemini-2.5-pro --max-cost 20 sampled.ndjson -o annotated.ndjson',
    '<%= config.bin %> annotate --judge openai:qwen --base-url http://localhost:8000/v1 --guide mm-vet --runs 5 answers.ndjson',
    "<%= config.bin %> annotate --judge 'exec:python3 judge.py' sampled.ndjson",
  ];
  static override flags = {
    judge: Flags.string({
      required: true,
      helpValue: 'JUDGE',
      summary: JUDGE_FORMS,
    }),
    guide: Flags.string({ default: 'helpsteer', helpValue: 'NAME|FILE', summary: 'what the judge is asked' }),
    runs: integerFlag({ min: 1, default: 1, helpValue: 'N', summary: 'judge each record N times, one entry each' }),
    order: Flags.option({ options: ['shuffled', 'given'] as const })({
      default: 'shuffled',
      summary: 'answers are shown in an order drawn by seed, which is undone in the scores, or as they stand',
    }),
    'base-url': Flags.string({
      helpValue: 'URL',
      summary: 'server to ask, with its version part: http://host:8000/v1',
    }),
    'key-env': Flags.string({
      helpValue: 'NAME',
      summary: "environment variable that holds the key, instead of the provider's",
    }),
    temperature: numberFlag({ min: 0, helpValue: 'T', summary: "judge's temperature; default: the guide's" }),
    'top-p': numberFlag({ min: 0, max: 1, helpValue: 'P', summary: "judge's top-p; default: the guide's" }),
    'max-tokens': integerFlag({ min: 1, helpValue: 'N', summary: "longest reply; default: the guide's" }),
    'reasoning-tokens': integerFlag({
      min: 0,
      helpValue: 'N',
      summary: 'tokens on top for a model that reasons first; default: 8192 for those known to, else 0',
    }),
    'no-schema': Flags.boolean({ summary: 'ask for the form in words alone: for servers without JSON schemas' }),
    concurrency: integerFlag({ min: 1, max: 4096, default: 16, helpValue: 'N', summary: 'calls at a time at most' }),
    rpm: numberFlag({ min: 0.001, helpValue: 'N', summary: 'requests a minute at most' }),
    tpm: numberFlag({ min: 1, helpValue: 'N', summary: 'tokens a minute at most' }),
    timeout: numberFlag({ min: 0.001, default: 120, helpValue: 'SECONDS', summary: 'longest time for one call' }),
    attempts: integerFlag({
      min: 1,
      default: 6,
      helpValue: 'N',
      summary: 'attempts a call at most; one that is told when to come back counts a quarter',
    }),
    'max-wait': numberFlag({
      min: 0,
      default: 600,
      helpValue: 'SECONDS',
      summary: 'longest wait a server may ask for; one that asks for more stops the run',
    }),
    'max-cost': numberFlag({ min: 0, helpValue: 'USD', summary: 'stop before more than this could be spent' }),
    prices: Flags.string({
      helpValue: 'FILE',
      summary: 'prices as JSON: {"provider:model": {"input": USD per million tokens, "output": ...}}',
    }),
    'dry-run': Flags.boolean({ summary: 'ask nothing: print one row with the number of calls, tokens and the cost' }),
    cache: Flags.string({ helpValue: 'DIR', summary: 'folder of replies; default: vpref/annotate in the user cache' }),
    'no-cache': Flags.boolean({ exclusive: ['cache'], summary: 'neither read nor keep replies' }),
    log: Flags.string({
      helpValue: 'FILE',
      summary: 'append one row for each request sent: attempt, outcome, time, cost',
    }),
    batch: Flags.option({ options: ['submit', 'collect'] as const })({
      dependsOn: ['batch-dir'],
      summary: `${BATCH_PROVIDERS} at half price: hand the questions in, or collect the answers`,
    }),
    'batch-dir': Flags.string({ helpValue: 'DIR', summary: 'folder of the request and result files of a batch' }),
    ...recordFlags,
    'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
      default: 'keep',
      summary: 'a row that fails: stop, leave it out, or write it with its error',
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse({ flags: Annotate.flags, strict: false });
    if (flags['dry-run']) return this.runTable(Annotate, (run) => surveyAnnotate(run.records(), settings(run)));
    if (flags.batch === 'submit') return this.runTable(Annotate, (run) => submitAnnotate(run.records(), settings(run)));
    await this.runStage(Annotate, async (run) => {
      const { stage, tally } = await openAnnotate(settings(run));
      run.atEnd(() => run.note(describeTally(tally)));
      run.showFigures(annotateProgress(tally));
      if (!computesHere(run.flags.judge)) run.noteIdle({ threads: 'only a local judge computes here' });
      run.addFigures(() => annotateFigures(flags, tally));
      return stage;
    });
  }
}

/** Of --summary; cost_usd is null where the judge's price is not known. */
function annotateFigures({ judge, guide }: AnnotateFlags, { rows: _rows, cost, ...counts }: Tally): object {
  return { judge, guide, ...counts, cost_usd: cost ?? null };
}

type AnnotateFlags = Interfaces.InferredFlags<typeof Annotate.flags>;

function settings(run: RunContext<AnnotateFlags, unknown>): AnnotateSettings {
  const { flags, stop } = run;
  return {
    judge: flags.judge,
    guide: flags.guide,
    runs: flags.runs,
    seed: flags.seed,
    shuffle: flags.order === 'shuffled',
    overrides: {
      temperature: flags.temperature,
      topP: flags['top-p'],
      maxTokens: flags['max-tokens'],
      withoutSchema: flags['no-schema'],
    },
    judgeOptions: {
      baseUrl: flags['base-url'],
      keyVariable: flags['key-env'],
      reasoningTokens: flags['reasoning-tokens'],
      timeoutMs: flags.timeout * 1000,
      concurrency: flags.concurrency,
      environment: process.env,
      warn: (message) => run.warn(message),
      openModel: (directory) => openJudgeModel(run, directory),
    },
    requestsPerMinute: flags.rpm,
    tokensPerMinute: flags.tpm,
    maxAttempts: flags.attempts,
    maxDelayMs: flags['max-wait'] * 1000,
    maxCost: flags['max-cost'],
    pricesFile: flags.prices,
    cache: flags['no-cache'] ? null : flags.cache,
    logFile: flags.log,
    batchFolder: flags.batch === undefined ? undefined : flags['batch-dir'],
    signal: stop,
  };
}

/** Loads the engine only for a judge that runs on it. */
async function openJudgeModel(run: RunContext<AnnotateFlags, unknown>, model: string) {
  const [{ ensureEngine }, { openModel }] = await Promise.all([import('../cli/engine.ts'), import('../model/load.ts')]);
  await ensureEngine(run, { device: 'auto', model });
  return openModel({
    ...{ model, adapters: [], device: 'auto', dtype: 'auto', threads: run.flags.threads, stop: run.stop },
    template: { otherwise: 'auto' },
    images: { mode: {} },
    note: (message) => run.note(message),
  });
}
