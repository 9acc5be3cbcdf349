// SPDX-License-Identifier: Apache-2.0
// Combines the replies of a run's calls into one entry.
import type { Annotation, VprefRecord } from '../../records/record.ts';
import type { Guide } from './guide.ts';
import type { PlannedCall } from './plan.ts';
import type { Reading } from './replies/reading.ts';

/** Scores, verdict and own answer of a run whose calls were all understood. */
export function combineReadings(
  record: VprefRecord,
  guide: Guide,
  calls: PlannedCall[],
  readings: Reading[],
): Pick<Annotation, 'scores' | 'verdict' | 'own_response' | 'mass'> {
  const own = readings.find((reading) => reading.ownResponse !== undefined)?.ownResponse;
  const verdict =
    guide.show === 'pair' ? pairVerdict(calls, readings) : perResponse(record, calls, readings, 'verdicts');
  const scores = perResponse(record, calls, readings, 'scores');
  const mass = perResponse(record, calls, readings, 'masses');
  return {
    ...(scores === undefined ? {} : { scores: scores as Annotation['scores'] & object }),
    ...(mass === undefined ? {} : { mass: mass as Annotation['mass'] & object }),
    ...(verdict === undefined ? {} : { verdict }),
    ...(own === undefined ? {} : { own_response: own }),
  };
}

/** Scores and comments per response, in the record's order. Several turns are merged, and their mean is added. */
function perResponse(
  record: VprefRecord,
  calls: PlannedCall[],
  readings: Reading[],
  key: 'scores' | 'verdicts' | 'masses',
) {
  if (!readings.some((reading) => reading[key])) return undefined;
  const found: (object | null)[] = record.responses!.map(() => null);
  for (const [index, call] of calls.entries()) {
    for (const [place, response] of call.order.entries()) {
      const value = readings[index]![key]?.[place] as Record<string, number> | undefined;
      if (value === undefined) continue;
      // Several turns or metrics, one call each.
      found[response] = { ...found[response], ...(call.turn === undefined ? value : suffixed(value, call.turn)) };
    }
  }
  return calls.some((call) => call.turn !== undefined) ? found.map(withMeans) : found;
}

function suffixed(value: Record<string, number>, turn: number): Record<string, number> {
  return Object.fromEntries(Object.entries(value).map(([name, score]) => [`${name}_turn_${turn}`, score]));
}

/** rating_turn_1, rating_turn_2 -> also rating, their mean. */
function withMeans(scores: object | null): object | null {
  if (scores === null) return null;
  const sums = new Map<string, number[]>();
  for (const [name, score] of Object.entries(scores)) {
    const base = name.replace(/_turn_\d+$/, '');
    sums.set(base, [...(sums.get(base) ?? []), score as number]);
  }
  const means = [...sums].map(([name, values]) => [name, values.reduce((a, b) => a + b, 0) / values.length]);
  return { ...Object.fromEntries(means), ...scores };
}

/** One row per turn: the winner's index in each game, and overall if all games agree (else null, a tie). */
function pairVerdict(calls: PlannedCall[], readings: Reading[]): object[] {
  const turns = new Map<number, (number | null)[]>();
  for (const [index, call] of calls.entries()) {
    const place = readings[index]!.winner ?? null;
    const winner = place === null ? null : call.order[place]!;
    turns.set(call.turn ?? 1, [...(turns.get(call.turn ?? 1) ?? []), winner]);
  }
  return [...turns].map(([turn, games]) => ({
    turn,
    winner: games.every((winner) => winner === games[0]) ? games[0]! : null,
    games,
  }));
}
