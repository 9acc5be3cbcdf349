// SPDX-License-Identifier: Apache-2.0
// Responses with per-token log-probabilities of a server, of vpref, and of vpref under other readings of the prompt.
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import type { Response, VprefRecord } from '../../records/record.ts';
import { isRecord } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import type { EvalOptions } from '../scoring/score-row.ts';

/** Name of our own reading. */
export const AS_IS = 'as-is';

/** vLLM's value for minus infinity. */
const FLOOR = -9999;

/** One response. */
export interface Compared {
  id: string;
  cluster: string;
  model: string;
  /** The server's tokens differ from ours, so nothing can be compared. */
  hasOtherTokens: boolean;
  /** Skipped tokens: the server has minus infinity for them, which JSON cannot represent. */
  numFloored: number;
  /** Server minus ours of each token that both have, nats, by reading. */
  differences: Map<string, number[]>;
  /** The server sampled at a temperature that its log-probabilities may include. */
  temperature?: number | undefined;
}

/** The responses of all records, the number without server log-probabilities, and the number of failed records. */
export function readColumns(
  files: readonly EvalFile[],
  options: EvalOptions,
): { answers: Compared[]; without: number; failed: number } {
  const answers: Compared[] = [];
  let [without, failed] = [0, 0];
  for (const { value, at } of files.flatMap((file) => file.rows)) {
    if (!isRecord(value)) throw new RecordError(at, 'prompt', 'a record', 'a row of another kind');
    const record = value as unknown as VprefRecord;
    if (record.error !== undefined) failed += 1;
    else
      for (const [index, response] of (record.responses ?? []).entries()) {
        if (options.label !== undefined && response.label !== options.label) continue;
        if (options.view !== undefined && (response.view ?? 'original') !== options.view) continue;
        if (response.endpoint_per_token_logps === undefined) without += 1;
        else answers.push(compared(record, response, `responses[${index}]`, at));
      }
  }
  return { answers, without, failed };
}

function compared(record: VprefRecord, response: Response, field: string, at: Place): Compared {
  const { endpoint_per_token_logps: server, per_token_logps: ours, drift = {} } = response;
  if (ours === undefined)
    throw new RecordError(at, `${field}.per_token_logps`, 'our log-probabilities (written by score)', 'nothing');
  const shared = sharedTokens(response);
  const columns = Object.entries({ [AS_IS]: ours, ...drift });
  for (const [name, column] of columns)
    if (!Array.isArray(column) || column.length !== ours.length)
      throw new RecordError(at, `${field}.drift.${name}`, count(ours.length, 'number'), describeValue(column));
  const tokens = Array.from({ length: shared ?? 0 }, (_, k) => k).filter((k) => server![k]! > FLOOR);
  const minus = (column: number[]) => tokens.map((k) => server![k]! - column[k]!);
  return {
    id: record.id,
    cluster: record.images?.[0] ?? record.group ?? record.id,
    model: response.label ?? '',
    hasOtherTokens: shared === undefined,
    numFloored: (shared ?? 0) - tokens.length,
    differences: new Map(columns.map(([name, column]) => [name, minus(column)])),
    temperature: record.sampling?.temperature,
  };
}

// The number of common leading tokens: a server may omit the end token, or add one to a response cut by length. Undefined
// if the tokens differ.
function sharedTokens({
  endpoint_per_token_logps: server,
  endpoint_tokens: theirs,
  per_token_logps: ours,
  tokens,
}: Response): number | undefined {
  const [n, m] = [server!.length, ours!.length];
  const shared = Math.min(n, m);
  if (Math.abs(n - m) > 1 || shared === 0) return undefined;
  for (let k = 0; k < shared; k += 1) if (!mayBeSame(theirs?.[k], tokens?.[k])) return undefined;
  return shared;
}

/** Spellings of one token: servers write or omit the leading blank, replace partial characters, or write the id. */
function mayBeSame(theirs: string | undefined, ours: string | undefined): boolean {
  if (theirs === undefined || ours === undefined) return true;
  if (/^token_id:\d+$/.test(theirs) || /\ufffd/.test(theirs + ours)) return true;
  const plain = (text: string) => text.replace(/\u2581/g, ' ').replace(/^ /, '');
  // Servers often omit the end token's text.
  return plain(theirs) === plain(ours) || theirs === '';
}
