// SPDX-License-Identifier: Apache-2.0
// The replies that a `probability` guide allows: each has a value and the ways to spell it.

export interface AllowedReply {
  name: string;
  value: number;
  /** Different texts of the same reply, without an end token. */
  spellings: string[];
}

/** Reads {"yes": [1, "yes", "Yes"], "no": [0, "no", "No"]}; undefined for anything else. */
export function parseReplies(text: string): AllowedReply[] | undefined {
  let table: unknown;
  try {
    table = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof table !== 'object' || table === null || Array.isArray(table)) return undefined;
  const replies: AllowedReply[] = [];
  for (const [name, entry] of Object.entries(table)) {
    const [value, ...spellings] = Array.isArray(entry) ? entry : [];
    const areTexts = spellings.length > 0 && spellings.every((spelling) => typeof spelling === 'string' && spelling);
    if (!Number.isFinite(value) || !areTexts) return undefined;
    replies.push({ name, value, spellings: spellings as string[] });
  }
  const all = replies.flatMap(({ spellings }) => spellings);
  return replies.length >= 2 && new Set(all).size === all.length ? replies : undefined;
}

/** The score computed from the log-probabilities of all replies. */
export interface ExpectedReply {
  /** Sum of p x value, p divided by the sum over the replies. */
  grade: number;
  /** That sum: the share of the model's probability on the allowed replies. */
  mass: number;
}

/** Throws RangeError unless there is one finite log-probability for each reply. */
export function expectedReply(
  replies: readonly AllowedReply[],
  logps: Readonly<Record<string, number>>,
): ExpectedReply {
  const known = replies.map(({ name }) => logps[name]);
  if (Object.keys(logps).length !== replies.length || !known.every(Number.isFinite))
    throw new RangeError(`expected a log-probability of ${replies.map(({ name }) => name).join(', ')}`);
  const total = logSumExp(known as number[]);
  const grade = replies.reduce((sum, { value }, index) => sum + Math.exp(known[index]! - total) * value, 0);
  return { grade, mass: Math.exp(total) };
}

/** log(sum(exp(x))), also where every exp(x) is below the smallest double. */
export function logSumExp(values: readonly number[]): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
