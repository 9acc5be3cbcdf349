// SPDX-License-Identifier: Apache-2.0
// --log of train: writes the metric rows in another program's format too.
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../records/error.ts';
import type { TrainOutput } from '../stages/train/metrics.ts';
import { EventFile, now } from './event-file.ts';

/** TensorBoard reads every file with "tfevents" in its name. One per run, also after a resume. */
const FILE = 'events.out.tfevents.vpref';

export interface TrainLog {
  /** The run starts in the state after `step`, evaluated or not. Later entries of the log are dropped. */
  start(step: number, hasEvaluated: boolean): void;
  add(row: TrainOutput): void;
  close(): void;
}

/** The log of "tensorboard:DIR". Throws UsageError for other names, and for a directory with the log of another run. */
export async function openTrainLog(text: string, resumes: boolean): Promise<TrainLog> {
  const [, dir] = /^tensorboard:(.+)$/.exec(text) ?? [];
  if (dir === undefined) throw new UsageError(`--log: expected tensorboard:DIR, got ${text}`);
  const path = join(dir, FILE);
  if (!resumes && existsSync(path))
    throw new UsageError(
      `--log ${text}: holds the events of another run; rerun with --resume, or choose another directory`,
    );
  const wire = await import('@bufbuild/protobuf/wire');
  let file: EventFile | undefined;
  return {
    start(step, hasEvaluated) {
      mkdirSync(dir, { recursive: true });
      // A state not yet evaluated will be evaluated again.
      const isEvaluation = (tag: string) => tag.startsWith('eval/');
      file = new EventFile(path, wire, (event) =>
        event.values.some(([tag]) => isEvaluation(tag)) && event.step === step ? hasEvaluated : event.step <= step,
      );
    },
    add({ step, ...row }) {
      if ('stop_reason' in row || 'warning' in row) return;
      // The step's row already has the epoch.
      const isOwn = (tag: string) => !('eval/loss' in row) || tag.startsWith('eval/');
      const values = Object.entries(row).filter(
        (entry): entry is [string, number] => typeof entry[1] === 'number' && isOwn(entry[0]),
      );
      file?.add({ step, wallTime: now(), values });
    },
    close: () => file?.close(),
  };
}

/** Writes each row to the log, then yields it. */
export async function* logged<Row extends TrainOutput>(
  rows: AsyncGenerator<Row, number>,
  log: TrainLog,
): AsyncGenerator<Row, number> {
  try {
    while (true) {
      const { done, value } = await rows.next();
      if (done) return value;
      log.add(value);
      yield value;
    }
  } finally {
    await rows.return(0);
    log.close();
  }
}
