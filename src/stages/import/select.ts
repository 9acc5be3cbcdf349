// SPDX-License-Identifier: Apache-2.0
// Selects the items to import. The draw depends only on the seed and the item's id.
import { randomStream } from '../../records/random.ts';
import type { ItemInfo } from './format.ts';

export interface Selection {
  /** Sources to take; absent: all. */
  sources?: readonly string[];
  /** Questions to take from each dialogue, one record each; absent: the whole dialogue. */
  turns?: number | 'all';
  /** Maximum `count` of records, per source or in total. */
  limits: readonly Limit[];
  /** Limits count dialogues, not questions (published SeVa code). */
  limitDialogues: boolean;
  seed: number;
}

export interface Limit {
  source?: string;
  count: number;
}

/** An item before limits are applied. */
export interface Candidate {
  id: string;
  source: string | undefined;
  /** Turns to take, 0-based, in order; absent: the whole item is one record. */
  turns?: number[];
}

/** The candidate for an item; undefined if its source is not selected. */
export function candidate(id: string, info: ItemInfo, selection: Selection): Candidate | undefined {
  const { sources, turns, seed } = selection;
  if (sources !== undefined && (info.source === undefined || !sources.includes(info.source))) return undefined;
  const base = { id, source: info.source };
  const numTurns = info.numTurns ?? 0;
  if (turns === undefined || numTurns === 0) return base;
  return { ...base, turns: drawTurns(numTurns, turns === 'all' ? numTurns : turns, seed, id) };
}

/** `count` of 0..numTurns-1, uniformly, in order. */
function drawTurns(numTurns: number, count: number, seed: number, id: string): number[] {
  const all = Array.from({ length: numTurns }, (_, turn) => turn);
  if (count >= numTurns) return all;
  const draws = randomStream(seed, id, 'import/turns');
  for (let place = 0; place < count; place++) {
    const other = place + draws.nextInt(numTurns - place);
    [all[place], all[other]] = [all[other]!, all[place]!];
  }
  return all.slice(0, count).sort((a, b) => a - b);
}

/** The part of a candidate within the limits; undefined if none. */
export type Cut = (candidate: Candidate) => Candidate | undefined;

/**
 * Collects all candidates, then returns a filter that leaves exactly the requested numbers: every unit (a record or
 * a dialogue) has a uniform key, and the smallest keys are kept. Memory: one number per kept unit.
 */
export function limitCandidates(selection: Pick<Selection, 'limits' | 'limitDialogues' | 'seed'>): {
  add(candidate: Candidate): void;
  cut(): Cut;
} {
  const { limits, limitDialogues, seed } = selection;
  const overall = limits.find((limit) => limit.source === undefined)?.count ?? Number.POSITIVE_INFINITY;
  const bySource = new Map(
    limits.flatMap((limit) => (limit.source === undefined ? [] : [[limit.source, limit.count]])),
  );
  const kept = new Map<string | undefined, SmallestKeys>();
  const limited = (source: string | undefined) => (source !== undefined && bySource.has(source) ? source : undefined);
  const units = ({ id, turns }: Candidate) =>
    turns === undefined || limitDialogues ? [unitKey(seed, id)] : turns.map((turn) => unitKey(seed, id, turn));

  return {
    add(candidate) {
      const source = limited(candidate.source);
      let keys = kept.get(source);
      if (keys === undefined) {
        keys = new SmallestKeys(Math.min(overall, source === undefined ? overall : bySource.get(source)!));
        kept.set(source, keys);
      }
      for (const key of units(candidate)) keys.add(key);
    },
    cut() {
      const all = new SmallestKeys(overall);
      for (const keys of kept.values()) for (const key of keys.keys) all.add(key);
      return (candidate) => {
        const most = Math.min(all.largest, kept.get(limited(candidate.source))?.largest ?? Number.POSITIVE_INFINITY);
        const stays = units(candidate).map((key) => key <= most);
        if (candidate.turns === undefined || limitDialogues) return stays[0] ? candidate : undefined;
        const turns = candidate.turns.filter((_, index) => stays[index]);
        return turns.length > 0 ? { ...candidate, turns } : undefined;
      };
    },
  };
}

function unitKey(seed: number, id: string, turn?: number): number {
  const keys = turn === undefined ? [id, 'import/limit'] : [id, 'import/limit', String(turn)];
  return randomStream(seed, ...keys).nextFloat();
}

/** The `count` smallest of the numbers added, as a heap with the largest on top. */
class SmallestKeys {
  readonly keys: number[] = [];
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  /** Keys above this one are dropped. */
  get largest(): number {
    if (this.keys.length < this.#count) return Number.POSITIVE_INFINITY;
    return this.keys[0] ?? Number.NEGATIVE_INFINITY;
  }

  add(key: number): void {
    // Without a limit no key is stored.
    if (this.#count === Number.POSITIVE_INFINITY || key >= this.largest) return;
    const { keys } = this;
    if (keys.length < this.#count) {
      keys.push(key);
      this.#rise(keys.length - 1);
    } else {
      keys[0] = key;
      this.#sink(0);
    }
  }

  #rise(at: number): void {
    for (let up = (at - 1) >> 1; at > 0 && this.keys[up]! < this.keys[at]!; at = up, up = (at - 1) >> 1)
      this.#swap(at, up);
  }

  #sink(at: number): void {
    for (;;) {
      let largest = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < this.keys.length && this.keys[child]! > this.keys[largest]!) largest = child;
      if (largest === at) return;
      this.#swap(at, largest);
      at = largest;
    }
  }

  #swap(a: number, b: number): void {
    [this.keys[a], this.keys[b]] = [this.keys[b]!, this.keys[a]!];
  }
}
