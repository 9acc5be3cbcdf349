// SPDX-License-Identifier: Apache-2.0
import { Args, Flags } from '@oclif/core';
import { exitCode } from '../cli/exit.ts';
import { integerFlag, numberFlag, outputFlags } from '../cli/flags.ts';
import { checkFiles, readBytes } from '../cli/input.ts';
import { RecordCommand } from '../cli/record-command.ts';
import type { RunContext } from '../cli/run-context.ts';
import { visible } from '../cli/terminal.ts';
import { UsageError } from '../records/error.ts';
import { describeFailure } from '../stages/eval/gate.ts';
import {
  baselinePaths,
  benchmarkNames,
  evaluateFiles,
  failedShare,
  gateFiles,
  publishedFiles,
} from '../stages/eval/open.ts';
import { formatPublishedTable } from '../stages/eval/published.ts';
import { formatScoreTable } from '../stages/eval/table.ts';

// Unlike other repeatable flags, these take all files up to the next flag.
const filesFlag = (summary: string) =>
  Flags.string({ multiple: true, multipleNonGreedy: false, helpValue: 'FILE', summary });

const gateFlags = {
  require: Flags.string({
    multiple: true,
    helpValue: 'RULE',
    summary: "gate: requirement, as 'BENCHMARK[.SPLIT].FIELD OP NUMBER [from NAME]'; may be repeated",
  }),
  baseline: Flags.string({
    multiple: true,
    helpValue: 'NAME=ROWS',
    summary: 'gate: score rows that `from NAME` compares with; may be repeated, also with the same NAME',
  }),
};

export default class Eval extends RecordCommand {
  static override summary = "score answers on the papers' benchmarks";
  static override description =
    'Reads answers and prints scores; runs no model and uses no network. Prints one row per split, category or capability, and one for the total. Failed answers and judge requests are counted, not scored; the exit code is then 3.';
  static override usage = 'eval BENCHMARK [ANSWERS...] [--labels FILE...]';
  static override examples = [
    '<%= config.bin %> eval pope answers.ndjson --labels coco_pope_random.json coco_pope_popular.json coco_pope_adversarial.json',
    '<%= config.bin %> eval mmvet llava_gpt-4-grade-3runs.json --labels mm-vet.json --format table',
    '<%= config.bin %> import mmvet mm-vet.json --image-root images | <%= config.bin %> sample --model llava | <%= config.bin %> annotate --judge openai:gpt-4 --guide mm-vet | <%= config.bin %> eval mmvet',
    '<%= config.bin %> eval compare seva.jsonl llava.jsonl --on seed-bench --labels SEED-Bench.json',
    '<%= config.bin %> eval published rows.ndjson --format table',
    "<%= config.bin %> eval gate after.scores.ndjson --baseline before=before.scores.ndjson --require 'pope.score >= -0.5 from before'",
  ];
  static override inapplicable = {
    requeue: 'scoring is fast; rerun it',
    summary: 'its rows are the summary',
    resume: 'a score needs all answers; scoring is fast, rerun it',
    shard: 'a score needs all answers',
    limit: 'a score needs all answers (score a part of them: head -n N, then --allow-missing)',
    'on-error': 'failed answers are counted and not scored (--max-failed, --include-failed)',
    threads: 'scoring uses one thread',
  };
  static override args = {
    benchmark: Args.string({
      required: true,
      description: 'benchmark to score, or another kind of evaluation',
      options: benchmarkNames,
    }),
  };
  static override flags = {
    labels: filesFlag("the benchmark's own label files; not needed for records with `reference`"),
    questions: filesFlag("the benchmark's question file, if it holds the ids or categories"),
    tables: filesFlag(
      'extra tables of a benchmark: df_gamed.csv (alpaca-eval), synonyms.txt (chair, objhal), relation.json (amber)',
    ),
    parse: Flags.option({ options: ['official', 'strict'] as const })({
      default: 'official',
      summary: 'how to parse answers: as the official script does, its bugs included, or strictly',
    }),
    'allow-missing': Flags.boolean({
      summary: 'score the questions that have both an answer and a label, instead of stopping',
    }),
    duplicates: Flags.option({ options: ['error', 'first', 'last'] as const })({
      default: 'error',
      summary: 'when a question has two answers: stop, or take the first or last',
    }),
    'include-failed': Flags.boolean({ summary: 'score failed judge requests as the official script does (0, or -1)' }),
    'max-failed': numberFlag({
      min: 0,
      max: 1,
      default: 0,
      helpValue: 'SHARE',
      summary: 'exit 3 if more than this share of the answers or judge requests failed',
    }),
    label: Flags.string({
      helpValue: 'NAME',
      summary: 'score only the responses with this label; default: each label',
    }),
    view: Flags.string({ helpValue: 'NAME', summary: 'score the responses to this view; default: the original image' }),
    response: integerFlag({ min: 0, helpValue: 'N', summary: 'index of the response to score in each record, from 0' }),
    judge: Flags.string({
      helpValue: 'NAME',
      summary: 'use the annotations of this judge; needed if a record has those of several',
    }),
    split: Flags.string({ default: 'test', helpValue: 'NAME', summary: 'scienceqa: split of problems.json' }),
    beta: numberFlag({
      min: 0,
      default: 0.1,
      helpValue: 'B',
      summary: 'rewards: scale of the implicit reward, as beta in training',
    }),
    on: Flags.string({
      helpValue: 'BENCHMARK',
      summary: "compare: benchmark that scores both runs; default: the records' source",
    }),
    test: Flags.option({ options: ['exact', 'bootstrap'] as const })({
      summary:
        'compare: sign test on wins and losses, or bootstrap by image; default: bootstrap if questions share images',
    }),
    resamples: integerFlag({ min: 100, default: 10000, helpValue: 'N', summary: 'compare: bootstrap resamples' }),
    seed: integerFlag({ min: 0, default: 0, helpValue: 'N', summary: 'compare: seed of the bootstrap' }),
    format: Flags.option({ options: ['ndjson', 'table'] as const })({
      default: 'ndjson',
      summary: "NDJSON rows, or a table beside the papers' rows",
    }),
    ...gateFlags,
    ...outputFlags,
  };

  async run(): Promise<void> {
    await this.runTable(Eval, async (run) => {
      const { flags, args, files } = run;
      const { labels = [], questions = [], tables = [] } = flags;
      if (files.length === 0 && process.stdin.isTTY)
        throw new UsageError('expected ANSWERS before --labels, or on stdin, got a terminal (see vpref eval --help)');
      const answers = files.length === 0 ? ['-'] : files;
      checkOwnFlags(args.benchmark, run.given);
      if (args.benchmark === 'gate') return eachRow(await gateRows(run, answers));
      if (args.benchmark === 'published') return eachRow(await publishedRows(run, answers));
      checkFiles([...answers, ...labels, ...questions, ...tables]);
      const evaluation = await evaluateFiles({
        ...flags,
        benchmark: args.benchmark,
        ...{ answers, labels, questions, tables },
        allowMissing: flags['allow-missing'],
        includeFailed: flags['include-failed'],
        read: (path) => readWhole(path, run.stop),
      });
      for (const note of evaluation.notes) run.note(note);
      if (failedShare(evaluation) > flags['max-failed']) process.exitCode = exitCode.partial;
      return eachRow(
        flags.format === 'table'
          ? formatScoreTable(args.benchmark, evaluation.rows, terminalWidth()).map(visible)
          : evaluation.rows,
      );
    });
  }
}

type GateContext = RunContext<{ [name in keyof typeof gateFlags]?: string[] | undefined }, unknown>;

/** One row per requirement; a failed one is a warning, and the exit code is then 4. */
async function gateRows(run: GateContext, answers: string[]) {
  const { baseline = [], require = [] } = run.flags;
  checkFiles([...answers, ...[...baselinePaths(baseline).values()].flat()]);
  const rows = await gateFiles({
    ...{ answers, baselines: baseline, requirements: require },
    read: (path) => readWhole(path, run.stop),
  });
  const failed = rows.filter(({ pass }) => !pass);
  for (const row of failed) run.warn(`requirement failed: ${describeFailure(row)}`);
  if (failed.length > 0) process.exitCode = exitCode.gate;
  return rows;
}

/** Score rows of a matrix beside the papers' figures; prints a note on figures without printed numbers. */
async function publishedRows(run: RunContext<{ format: string }, unknown>, answers: string[]) {
  checkFiles(answers);
  const result = await publishedFiles({ answers, read: (path) => readWhole(path, run.stop) });
  if (run.flags.format === 'table') return formatPublishedTable(result).map(visible);
  for (const note of result.notes) run.note(note);
  return result.rows;
}

/** Evaluations that read score rows instead of answers accept only their own flags. */
const ownFlags: Readonly<Record<string, readonly string[]>> = {
  gate: [...Object.keys(gateFlags), ...Object.keys(outputFlags)],
  published: ['format', ...Object.keys(outputFlags)],
};

function checkOwnFlags(benchmark: string, given: ReadonlySet<string>): void {
  const own = ownFlags[benchmark];
  for (const name of given) {
    if (own === undefined ? Object.hasOwn(gateFlags, name) : !own.includes(name))
      throw new UsageError(
        `--${name}: ${own === undefined ? `expected eval gate, got ${benchmark}` : `eval ${benchmark} has no such flag`}`,
      );
  }
}

/** Columns of the terminal, or COLUMNS if stdout is not one; else undefined, no limit. */
function terminalWidth(): number | undefined {
  return process.stdout.columns ?? (Number(process.env.COLUMNS) || undefined);
}

async function readWhole(path: string, stop: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of readBytes(path, stop)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* eachRow(rows: readonly (object | string)[]): AsyncGenerator<object | string> {
  yield* rows;
}
