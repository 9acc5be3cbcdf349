// SPDX-License-Identifier: Apache-2.0
// What export writes, import reads back: random records through every pair of the two.
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import type { Row } from '../src/flow/stage.ts';
import { placeImages, promptMessages, trimAroundImages } from '../src/records/prompt.ts';
import { type RandomStream, randomStream } from '../src/records/random.ts';
import type { ContentPart, Message, VprefRecord } from '../src/records/record.ts';
import { imagePaths } from '../src/stages/export/image-path.ts';
import { exportLines, newExportCounts } from '../src/stages/export/index.ts';
import { importItems } from './support/import-stage.ts';

const WORDS = [
  'cat',
  'a "hat"',
  'e\u0301t\u00e9',
  '\u732b',
  '\ud83d\ude00',
  '\\n',
  '\u2028',
  '\n',
  ' ',
  '\t',
  '</s>',
  '<p>',
  "it's",
  '0',
];
// What some format takes for a slot: held where it can be, refused elsewhere, never something else on the way back.
const MARKS = ['<image>', '<video>', '<audio>', '<img>a.png</img>', '<img>'];

type Kind = 'pair' | 'response' | 'label';

interface Wanted {
  kind: Kind;
  hasImages: boolean;
  /** With images of its own for the rejected side: all, none, or some. */
  negatives?: boolean | undefined;
}

class Draw {
  readonly #stream: RandomStream;
  constructor(...keys: string[]) {
    this.#stream = randomStream(7, ...keys);
  }

  below(count: number): number {
    return this.#stream.nextInt(count);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  text(marks: boolean): string {
    const words = Array.from({ length: 1 + this.below(6) }, () => WORDS[this.below(WORDS.length)]!);
    if (marks && this.chance(8)) words.push(MARKS[this.below(MARKS.length)]!);
    return words.join(this.chance(50) ? ' ' : '');
  }

  answer(): string {
    return this.chance(5) ? '' : this.text(true);
  }

  record(index: number, { kind, hasImages, negatives }: Wanted): VprefRecord {
    const images = hasImages
      ? Array.from({ length: 1 + this.below(3) }, (_, n) => `d${n}/${index}-${n}.png`)
      : undefined;
    const rejected = this.chance(30) ? [this.answer(), this.answer(), this.answer()] : this.answer();
    return {
      id: `r${index}`,
      ...(images !== undefined && { images }),
      prompt: this.prompt(images?.length ?? 0),
      ...(kind === 'pair' && { chosen: this.answer(), rejected }),
      ...(kind === 'pair' &&
        (negatives ?? this.chance(30)) &&
        images && { rejected_images: images.map((image) => `dark/${image}`) }),
      ...(kind !== 'pair' && { response: this.answer() }),
      ...(kind === 'label' && { label: this.chance(50) }),
      ...(this.chance(20) && { source: 'a/b', meta: { note: 1 }, weight: 0.5 }),
    };
  }

  prompt(numImages: number): VprefRecord['prompt'] {
    const numSlots = this.chance(60) ? numImages : 0;
    const numTurns = this.chance(60) ? 1 : 2 + this.below(2);
    const slots = Array.from({ length: numTurns }, () => 0);
    for (let slot = 0; slot < numSlots; slot++) slots[this.below(numTurns)]! += 1;
    if (numTurns === 1 && this.chance(40)) return this.marked(numSlots);
    const messages: Message[] = this.chance(40) ? [{ role: 'system', content: this.text(false) }] : [];
    for (const [turn, count] of slots.entries()) {
      if (turn > 0) messages.push({ role: 'assistant', content: this.text(false) });
      messages.push({ role: 'user', content: this.chance(50) ? this.marked(count) : this.parts(count) });
    }
    return messages;
  }

  marked(numSlots: number): string {
    return (
      Array.from({ length: numSlots }, () => `${this.chance(30) ? this.text(false) : ''}<image>\n`).join('') +
      this.text(false)
    );
  }

  // A line break beside a slot belongs to the mark where a format writes the turn as text: parts have none there.
  parts(numSlots: number): ContentPart[] {
    const word = () => ({ type: 'text' as const, text: `w${this.text(true)}w` });
    const parts: ContentPart[] = Array.from({ length: numSlots }, () => ({ type: 'image' as const }));
    return this.chance(30) && numSlots > 0 ? [word(), ...parts, word()] : [...parts, word()];
  }
}

/** The prompt as the model sees it: neighbouring texts joined, line breaks around marks taken off. */
function seen(record: VprefRecord): unknown {
  const written = promptMessages(record.prompt);
  return placeImages(record.prompt, record.images?.length ?? 0).map(({ role, content }, index) => {
    const parts = typeof written[index]!.content === 'string' ? trimAroundImages(content as ContentPart[]) : content;
    return [role, ...(parts as ContentPart[]).map((part) => (part.type === 'image' ? null : part.text))];
  });
}

interface Pair {
  name: string;
  importer: string;
  kinds: readonly Kind[];
  layout?: 'text';
  /** Fields that the format has, compared after the way there and back. */
  fields: readonly string[];
  /** What the format does not hold of the images. */
  fileNames?: boolean;
  /** Its one answer comes back as what is known, or as what is to be learned. */
  answer?: 'reference';
  /** All rows of a file have rejected_images, or none. */
  negatives?: boolean;
}

const PAIRS: readonly Pair[] = [
  {
    name: 'trl',
    importer: 'trl',
    kinds: ['pair', 'response', 'label'],
    fields: ['id', 'chosen', 'rejected', 'response', 'label'],
  },
  {
    name: 'trl',
    importer: 'trl',
    layout: 'text',
    kinds: ['pair', 'label'],
    fields: ['id', 'chosen', 'rejected', 'response', 'label'],
  },
  {
    name: 'llama-factory',
    importer: 'llama-factory',
    kinds: ['pair', 'response', 'label'],
    fields: ['chosen', 'rejected', 'response', 'label'],
  },
  {
    name: 'llama-factory',
    importer: 'sharegpt',
    kinds: ['pair', 'label'],
    fields: ['chosen', 'rejected', 'response', 'label'],
  },
  {
    name: 'ms-swift',
    importer: 'ms-swift',
    kinds: ['pair'],
    fields: ['chosen', 'rejected', 'rejected_images'],
    negatives: true,
  },
  {
    name: 'ms-swift',
    importer: 'ms-swift',
    kinds: ['pair', 'response', 'label'],
    negatives: false,
    fields: ['chosen', 'rejected', 'rejected_images', 'response', 'label'],
  },
  {
    name: 'ms-swift',
    importer: 'sharegpt',
    kinds: ['pair', 'label'],
    negatives: false,
    fields: ['chosen', 'rejected', 'response', 'label'],
  },
  { name: 'llava', importer: 'llava', kinds: ['pair', 'response'], fields: ['id'], answer: 'reference' },
  { name: 'seva', importer: 'seva', kinds: ['pair'], fields: ['chosen', 'rejected'], fileNames: true },
];

for (const pair of PAIRS)
  for (const kind of pair.kinds)
    test(`${pair.name}${pair.layout ?? ''} -> ${pair.importer}: ${kind}${pair.negatives ? ', image negatives' : ''}`, async () => {
      const draw = new Draw(pair.name, pair.importer, kind);
      const isText = pair.layout === 'text';
      const records = Array.from({ length: 300 }, (_, index) =>
        draw.record(index, {
          kind,
          hasImages: !isText && (pair.negatives || draw.chance(70)),
          negatives: pair.negatives,
        }),
      );
      const { sent, lines } = await exportRecords(records, pair);
      assert.ok(sent.length > 20, `${sent.length} of 300 records have a form in ${pair.name}`);
      const back = await importItems(pair.importer, lines.join('\n'));
      assert.deepEqual(back.errors, []);
      assert.equal(back.records.length, sent.length);
      for (const [index, record] of sent.entries()) compare(back.records[index]!, record, pair);
    });

/** Lines for the records that the format has a form for, and the records row by row, with one rejected answer each. */
async function exportRecords(records: readonly VprefRecord[], { name, layout, answer }: Pair) {
  const refused = new Set<string>();
  async function* rows(): AsyncGenerator<Row> {
    for (const [index, record] of records.entries()) yield { record, source: 'f', line: index + 1 };
  }
  const lines: string[] = [];
  const options = { format: name, imagePath: imagePaths({}), isText: layout === 'text' };
  const failed = (error: Error, row: Row) => {
    assert.match(
      error.message,
      /takes for|columns of the first row|image before the question|one image|one user turn|fixed system/,
    );
    refused.add(row.record.id);
  };
  for await (const line of exportLines(rows(), options, newExportCounts(), failed)) lines.push(line);
  const sent = records
    .filter(({ id }) => !refused.has(id))
    .flatMap((record) => {
      if (!Array.isArray(record.rejected) || answer !== undefined) return [record];
      return record.rejected.map((rejected, place) => ({ ...record, id: `${record.id}#${place}`, rejected }));
    });
  return { sent, lines };
}

function compare(back: VprefRecord, sent: VprefRecord, { fields, fileNames, answer }: Pair): void {
  const where = JSON.stringify(sent);
  assert.deepEqual(seen(back), seen(sent), where);
  const images = (sent.images ?? []).map((image) => (fileNames ? basename(image) : image));
  assert.deepEqual(back.images ?? [], images, where);
  for (const field of fields) assert.deepEqual(back[field], sent[field], `${field} of ${where}`);
  if (answer !== undefined) assert.equal(back.reference, sent.chosen ?? sent.response, where);
  const learned = ['chosen', 'rejected', 'response', 'label', 'rejected_images', 'reference'];
  const expected = answer === undefined ? fields : [...fields, answer];
  for (const field of learned)
    if (!expected.includes(field)) assert.equal(back[field], undefined, `${field} of ${where}`);
}
