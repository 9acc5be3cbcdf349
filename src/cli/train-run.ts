// SPDX-License-Identifier: Apache-2.0
// One run of train: plan from flags, trainer from rows and model, exit code.
import type { NativeVolume } from '../engine/native.ts';
import type { LossNeeds } from '../engine/train-requests.ts';
import type { Row } from '../flow/stage.ts';
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

/** Yields the metric rows; writes files to the directory of -o. Throws StoppedError after a stop, once the state is saved. */
export async function* trainingRun(run: RunContext<TrainFlags, unknown>, flags: TrainFlags, ranks: Ranks) {
  const plan = trainPlan(flags, run.given);
  // Ranks of one run share the directory, which rank 0 writes.
  if (ranks.rank === 0) await run.holdFolder(plan.options.dir);
  const rows: Row[] = [];
  for await (const row of run.records()) rows.push(row);
  const evalRows = flags.eval === undefined ? undefined : await readHeldOut(run, flags.eval, rows);
  const prompts =
    flags['sample-prompts'] === undefined
      ? undefined
      : await readOther(run, '--sample-prompts', flags['sample-prompts']);
  // The input ended early, so there is nothing to save.
  if (run.stop.aborted) throw run.stop.reason;
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
  const frozen = context.fingerprint.adapter;
  const started = initAdapter === undefined ? undefined : await fingerprintAdapter(initAdapter);
  const measure = (some: readonly Row[], about = '') =>
    measureRows(
      some,
      {
        needs,
        lossOn: flags['loss-on'],
        onLong: flags['on-long'],
        ...(!flags['allow-ref-mismatch'] && {
          referenceSource: {
            model: context.fingerprint.model,
            dtype: policy.info.dtype,
            quantize: policy.info.quantize,
            adapters: started === undefined ? [frozen] : [frozen, started],
          },
        }),
        stop: run.stop,
        note: (message) => run.note(`${about}${message}`),
        warn: (message) => ranks.rank === 0 && run.warn(`${about}${message}`),
      },
      context,
    );
  const measured = await measure(rows);
  const heldOutRows = evalRows && (await measure(evalRows, '--eval: ')).rows;
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
  // With an initial adapter, sums of the model without it give rewards that are not 0.
  const isOther = ({ record: { ref } }: Row) =>
    ref !== undefined && JSON.stringify(ref.adapter) !== JSON.stringify(started);
  const log = flags.log === undefined || ranks.rank > 0 ? undefined : await openTrainLog(flags.log, run.resumes);
  const outputs = train(measured, trainer, needs, context, {
    ...plan.options,
    settings,
    heldOut,
    samples: prompts && { rows: prompts, every: flags['sample-every'] },
    resume: run.resumes,
    // With dropout on its input, an initial adapter's output differs, so rewards are not 0.
    startsAtReference: started === undefined || (flags['lora-dropout'] === 0 && !measured.rows.some(isOther)),
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

/** The records of an additional file. */
async function readOther(run: RunContext<TrainFlags, unknown>, flag: string, file: string): Promise<Row[]> {
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
async function readHeldOut(
  run: RunContext<TrainFlags, unknown>,
  file: string,
  trained: readonly Row[],
): Promise<Row[]> {
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
