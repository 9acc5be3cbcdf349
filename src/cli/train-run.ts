// SPDX-License-Identifier: Apache-2.0
// One run of train: plan from flags, trainer from rows and model, exit code.
import type { NativeVolume } from '../engine/native.ts';
import type { LossNeeds } from '../engine/train-requests.ts';
import type { Row } from '../flow/stage.ts';
import type { ModelContext } from '../model/context.ts';
import { count } from '../records/count.ts';
import { RunError, UsageError } from '../records/error.ts';
import type { TrainEnd } from '../stages/train/options.ts';
import { ensureEngine } from './engine.ts';
import { StoppedError, type StopSignal } from './exit.ts';
import { checkFiles, readRows } from './input.ts';
import { lossFlags } from './loss-flags.ts';
import { openModelOf } from './model-flags.ts';
import { warnNoQuirk } from './preset.ts';
import { hasQuirk } from './presets.ts';
import { newCounts } from './progress.ts';
import { type Ranks, whenFailing } from './ranks.ts';
import type { RunContext } from './run-context.ts';
import type { TrainFlags } from './train-flags.ts';
import { logged, openTrainLog } from './train-log.ts';
import { trainPlan } from './train-plan.ts';
import { TrainProgressLine } from './train-progress.ts';

type TrainRun = RunContext<TrainFlags, unknown>;

/** Yields the metric rows; writes files to the directory of -o. Throws StoppedError after a stop, once the state is saved. */
export async function* trainingRun(run: TrainRun, flags: TrainFlags, ranks: Ranks) {
  const plan = trainPlan(flags, run.given);
  // Ranks of one run share the directory, which rank 0 writes.
  if (ranks.rank === 0) await run.holdFolder(plan.options.dir);
  const { rows, evalRows, prompts } = await readInputs(run, flags);
  const hasQuirks = hasQuirk(flags.preset, 'train');
  if (flags.faithful && !hasQuirks)
    warnNoQuirk(run, flags.preset === undefined ? 'training without a preset' : `training as ${flags.preset}`);
  const [{ train }, { measureRows }, { createTrainer, lossNeeds, readAdapterShape }, { fingerprintAdapter }, order] =
    await Promise.all([
      import('../stages/train/index.ts'),
      import('../stages/train/measure.ts'),
      import('../engine/trainer.ts'),
      import('../engine/fingerprint.ts'),
      import('../stages/train/order.ts'),
    ]);
  if (flags['lora-targets'] === 'all-linear')
    run.note(`--lora-targets all-linear: ${plan.settings.loraTargets.join(', ')} of the language model`);
  await ensureEngine(run, flags);
  const needs = await lossNeeds(plan.settings.loss).catch(settingsError);
  checkLoss(plan.settings.loss, needs, flags, run.given);
  const { context: opened, policy } = await openModelOf(run, flags);
  const maxLength = flags['max-length'];
  const context = maxLength === undefined ? opened : { ...opened, maxLength };
  const initAdapter = flags['init-adapter'];
  const started = initAdapter === undefined ? undefined : await fingerprintAdapter(initAdapter);
  const measuring = measureOptions(run, flags, ranks, { context, needs, started });
  const measured = await measureRows(rows, measuring(''), context);
  const heldOutRows = evalRows && (await measureRows(evalRows, measuring('--eval: '), context)).rows;
  const heldOut = heldOutRows && { rows: heldOutRows, ...heldOutOptions(flags, needs, heldOutRows) };
  if (flags.faithful && hasQuirks) {
    run.note('--faithful: every record is taken twice per epoch');
    measured.rows.push(...measured.rows);
    measured.sizes.push(...measured.sizes);
  }
  const { totalSteps } = order.trainingLength(
    measured.rows.length,
    flags['batch-size'],
    flags.epochs,
    flags['max-steps'],
  );
  const shape = initAdapter === undefined ? {} : await readAdapterShape(initAdapter);
  const settings = { ...plan.settings, ...shape, totalSteps };
  const trainer = await createTrainer(policy, {
    settings,
    baseModel: flags.model,
    ranks: { ...ranks, zero: flags.zero === 'auto' ? -1 : Number(flags.zero) },
    ...(flags['memory-limit'] !== undefined && { memoryLimit: flags['memory-limit'] }),
    ...(initAdapter !== undefined && { initAdapter }),
  }).catch(settingsError);
  if (trainer.numFixed > 0)
    run.note(
      `--init-adapter ${initAdapter}: ${trainer.numFixed} of its tensors are not trained; they are written unchanged`,
    );
  const progress = new TrainProgressLine();
  run.showLine(() => progress.state());
  const log = flags.log === undefined || ranks.rank > 0 ? undefined : await openTrainLog(flags.log, run.resumes);
  const outputs = train(measured, trainer, needs, context, {
    ...plan.options,
    settings,
    heldOut,
    samples: prompts && { rows: prompts, every: flags['sample-every'] },
    resume: run.resumes,
    startsAtReference: startsAtReference(started, flags['lora-dropout'], measured.rows),
    ...(started !== undefined && { initAdapter: started }),
    stop: run.stop,
    stopCode: () => 1 + stopSignals.indexOf((run.stop.reason as StoppedError).signal),
    note: run.note.bind(run),
    warn: run.warn.bind(run),
    onEnd: (end) => run.addFigures(() => endFigures(end, policy.info.device === 'cuda')),
    onStart: (step, hasEvaluated) => log?.start(step, hasEvaluated),
    onProgress: progress.update.bind(progress),
  });
  const stopped = yield* log === undefined ? outputs : logged(outputs, log);
  if (flags.verbose) run.note(communicationLine(trainer.communication()));
  await trainer.leave();
  whenFailing(undefined);
  const signal = stopSignals[stopped - 1];
  if (signal === undefined) return;
  const where = `stopped by ${signal} after step ${trainer.stepsDone} of ${totalSteps}`;
  // One rank reports for all.
  throw new StoppedError(signal, ranks.rank > 0 ? '' : `${where}; ${flags.output} is saved: run again with --resume`);
}

/** Records of the input, of --eval and of --sample-prompts. */
async function readInputs(run: TrainRun, flags: TrainFlags) {
  const rows: Row[] = [];
  for await (const row of run.records()) rows.push(row);
  const evalRows = flags.eval === undefined ? undefined : await readHeldOut(run, flags.eval, rows);
  const file = flags['sample-prompts'];
  const prompts = file === undefined ? undefined : await readOther(run, '--sample-prompts', file);
  // The input ended early, so there is nothing to save.
  if (run.stop.aborted) throw run.stop.reason;
  return { rows, evalRows, prompts };
}

/** Options of measureRows; `about` begins its messages. */
function measureOptions(
  run: TrainRun,
  flags: TrainFlags,
  { rank }: Ranks,
  { context, needs, started }: { context: ModelContext; needs: LossNeeds; started: string | undefined },
) {
  const { adapter: frozen, model } = context.fingerprint;
  const { dtype, quantize } = context.engine.info;
  const adapters = started === undefined ? [frozen] : [frozen, started];
  return (about: string) => ({
    needs,
    lossOn: flags['loss-on'],
    onLong: flags['on-long'],
    ...(!flags['allow-ref-mismatch'] && { referenceSource: { model, dtype, quantize, adapters } }),
    stop: run.stop,
    note: (message: string) => run.note(`${about}${message}`),
    warn: (message: string) => rank === 0 && run.warn(`${about}${message}`),
  });
}

/**
 * Whether rewards are 0 before the first step. With an initial adapter they are not if the reference sums are of the model
 * without it, or if dropout changes its output.
 */
function startsAtReference(started: string | undefined, dropout: number, rows: readonly Row[]): boolean {
  const isOther = ({ record: { ref } }: Row) =>
    ref !== undefined && JSON.stringify(ref.adapter) !== JSON.stringify(started);
  return started === undefined || (dropout === 0 && !rows.some(isOther));
}

/** The records of an additional file. */
async function readOther(run: TrainRun, flag: string, file: string): Promise<Row[]> {
  if (file === '-') throw new UsageError(`${flag}: expected a file, got -`);
  checkFiles([file]);
  const rows: Row[] = [];
  let numFailed = 0;
  for await (const batch of readRows({ files: [file], stop: run.stop, counts: newCounts() }))
    for (const row of batch) {
      if ('error' in row) throw row.error;
      if (row.record.error === undefined) rows.push(row);
      else numFailed += 1;
    }
  if (numFailed > 0) run.note(`${flag}: ${count(numFailed, 'record')} left out: failed in an earlier stage`);
  if (rows.length === 0) throw new UsageError(`${flag}: expected at least one record, got none`);
  return rows;
}

/** The records of --eval; prints a note on those that are also in the training data. */
async function readHeldOut(run: TrainRun, file: string, trained: readonly Row[]): Promise<Row[]> {
  const rows = await readOther(run, '--eval', file);
  const lesson = ({ record: { images, prompt, chosen, response } }: Row) =>
    JSON.stringify([images ?? [], prompt, response ?? chosen]);
  const lessons = new Set(trained.map(lesson));
  const numKnown = rows.filter((row) => lessons.has(lesson(row))).length;
  if (numKnown > 0)
    run.warn(
      `--eval: ${count(numKnown, 'held-out record is', 'held-out records are')} also in the training data, of ${rows.length}: they measure training, not generalisation`,
    );
  return rows;
}

function heldOutOptions(flags: TrainFlags, needs: LossNeeds, rows: readonly Row[]) {
  const metric = flags['keep-best'];
  const hasPairs =
    needs.rejected || (needs.rejectedOrLabel && rows.some(({ record }) => record.rejected !== undefined));
  if (metric !== undefined && !hasPairs && /rewards|rejected/.test(metric))
    throw new UsageError(
      `--keep-best ${metric}: ${needs.rejectedOrLabel ? 'the held-out records have' : 'this loss has'} no rejected answers`,
    );
  return { every: flags['eval-every'], patience: flags['early-stop'] ?? 0, metric };
}

/** Throws UsageError for a flag that the loss would ignore or does not support. */
function checkLoss(loss: string, needs: LossNeeds, flags: TrainFlags, given: ReadonlySet<string>): void {
  for (const name of Object.keys(lossFlags))
    if (given.has(name) && !needs.hyperparameters.includes(name))
      throw new UsageError(`--${name}: loss ${loss} does not use it`);
  if (!needs.referencePoint) return;
  for (const name of ['train-projector', 'train-language-model', 'init-adapter'] as const)
    if (flags[name])
      throw new UsageError(
        `--${name}: not supported with loss ${loss}, which also needs the starting model at every step (to start from an adapter, merge it: export merge)`,
      );
}

/** Members of the row of --summary. */
function endFigures({ end, ranks, peakBytes, seconds, steps, records, tokens }: TrainEnd, isGpu: boolean) {
  return {
    seconds,
    ranks,
    ...(isGpu && { gpu_hours: (ranks * seconds) / 3600 }),
    steps,
    records_learnt: records,
    tokens,
    peak_memory_bytes: peakBytes,
    ...(end ?? { stop_reason: 'last-step' }),
  };
}

// Turns an engine error about settings into a usage error.
function settingsError(cause: unknown): never {
  if (cause instanceof RunError && cause.code === 'config') throw new UsageError(cause.message, { cause });
  throw cause;
}

// Stop codes of ranks: the largest counts; SIGUSR1 announces a time limit.
const stopSignals: readonly StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGUSR1'];

function communicationLine({ calls, payloadBytes, waitSeconds }: NativeVolume): string {
  return `ranks: ${calls} collectives of ${(payloadBytes / 2 ** 20).toFixed(1)} MiB in total, ${waitSeconds.toFixed(2)} s waiting`;
}
