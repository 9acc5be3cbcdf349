// SPDX-License-Identifier: Apache-2.0
// The truth of an AMBER question, from annotations.json or from records of `import amber`.

import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import { type Label, type OwnLabel, rowId } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';

export const GENERATIVE = 'generative';

export interface AmberLabel extends Label {
  /** generative, existence, state, number, action or relation. */
  kind: string;
  /** A yes-no question. */
  isYes: boolean;
  /** A description: objects in the image, and typical hallucinations. */
  truth: string[];
  hallu: string[];
}

const KINDS: Readonly<Record<string, string>> = {
  [GENERATIVE]: GENERATIVE,
  'discriminative-hallucination': 'existence',
  'discriminative-attribute-state': 'state',
  'discriminative-attribute-number': 'number',
  'discriminative-attribute-action': 'action',
};

/** The rows of annotations.json; images of the query files, if given. */
export function annotationLabels(files: readonly EvalFile[], queries: readonly EvalFile[]): AmberLabel[] {
  const images = new Map(
    queries.flatMap((file) => file.rows.map(({ value, at }) => [rowId(value, at), value.image] as const)),
  );
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const id = rowId(value, at);
      const image = images.get(id);
      return amberLabel(value, { id, at, cluster: typeof image === 'string' ? image : id });
    }),
  );
}

/** The label of a record; undefined if it has no type. */
export function ownLabel({ record: { meta, reference }, id, cluster, at }: OwnLabel): AmberLabel | undefined {
  const { type, truth, hallu } = meta ?? {};
  if (typeof type !== 'string') return undefined;
  return amberLabel({ type, truth: truth ?? reference, hallu }, { id, at, cluster });
}

interface Head {
  id: string;
  at: Place;
  cluster: string;
}

function amberLabel({ type, truth, hallu }: Record<string, unknown>, head: Head): AmberLabel {
  const { at } = head;
  if (typeof type !== 'string') throw new RecordError(at, 'type', 'a string', describeValue(type));
  // The script counts every other type as a relation.
  const label = { ...head, split: '', kind: KINDS[type] ?? 'relation', isYes: false, truth: [], hallu: [] };
  if (label.kind === GENERATIVE)
    return { ...label, truth: words(truth, 'truth', at), hallu: words(hallu, 'hallu', at) };
  if (truth !== 'yes' && truth !== 'no') throw new RecordError(at, 'truth', '"yes" or "no"', describeValue(truth));
  return { ...label, isYes: truth === 'yes' };
}

function words(value: unknown, field: string, at: Place): string[] {
  if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value;
  throw new RecordError(at, field, 'a list of words', describeValue(value));
}
