// SPDX-License-Identifier: Apache-2.0
// Stages: the --summary of each run.
import { count } from '../../records/count.ts';
import { isObject } from '../../records/field.ts';
import type { JsonObject, RowSection, StageSummary } from './data.ts';

export class StageSection implements RowSection<StageSummary[]> {
  readonly #stages: StageSummary[] = [];

  take(run: string, row: JsonObject): boolean {
    if (typeof row.summary !== 'string' || typeof row.rows_read !== 'number') return false;
    this.#stages.push(stageSummary(run, row.summary, row));
    return true;
  }

  data(): StageSummary[] {
    return this.#stages;
  }
}

function stageSummary(run: string, stage: string, row: JsonObject): StageSummary {
  const number = (name: string) => (typeof row[name] === 'number' ? (row[name] as number) : 0);
  const counts = (value: unknown) =>
    Object.fromEntries(
      Object.entries(isObject(value) ? value : {}).filter((entry): entry is [string, number] => {
        return typeof entry[1] === 'number';
      }),
    );
  const { flipped, leans, rule, judge, guide } = row;
  const leanTexts = Array.isArray(leans) ? leans.filter((lean) => typeof lean === 'string') : [];
  const notes = [
    typeof rule === 'string' && `rule ${rule}`,
    typeof judge === 'string' && `judge ${judge}`,
    typeof guide === 'string' && `guide ${guide}`,
    typeof flipped === 'number' && flipped > 0 && `${count(flipped, 'preference')} swapped`,
    ...leanTexts,
  ].filter((note): note is string => typeof note === 'string');
  return {
    run,
    stage,
    read: number('rows_read'),
    ...('rows_written' in row && { written: number('rows_written') }),
    dropped: counts(row.dropped),
    leftOut: counts(row.answers_left_out),
    failed: number('failed_left_out') + number('failed_kept') + number('failed_before'),
    notes,
    ...('requests' in row && {
      requests: number('requests'),
      cached: number('cached'),
      tokens: number('input_tokens') + number('output_tokens'),
      cost: typeof row.cost_usd === 'number' ? row.cost_usd : null,
    }),
  };
}
