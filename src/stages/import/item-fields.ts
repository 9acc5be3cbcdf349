// SPDX-License-Identifier: Apache-2.0
// Members of an item that its format does not read go to `meta`. A member that looks like a part of a record is an
// error, so no preference, text or image is lost silently.
import { RecordError } from '../../records/error.ts';
import { withNumbersOf } from '../../records/exact.ts';
import { describeValue, isObject, joinPath, type Place } from '../../records/field.ts';

/** An item of another tool's file, as an object. */
export type ItemFields = Record<string, unknown>;

/** Whether the member is present; null counts as absent, because tables fill missing cells with null. */
export function isGiven(item: ItemFields, key: string): boolean {
  return item[key] !== undefined && item[key] !== null;
}

/** The name that the item has, of several synonyms. Throws RecordError if it has two. */
export function oneOfColumns(item: ItemFields, names: readonly string[], at: Place, path: string): string | undefined {
  const [first, second] = names.filter((name) => isGiven(item, name));
  if (second === undefined) return first;
  throw new RecordError(at, joinPath(path, second), `nothing beside ${first}, which means the same`, 'both');
}

/**
 * The item's other members except nulls, for `meta`; the item's `meta` is merged. Throws RecordError for a member
 * that looks like a preference, a text of the prompt, an image, a video or audio.
 */
export function otherFields(item: ItemFields, used: readonly string[], at: Place, path: string): { meta?: ItemFields } {
  const rest = Object.entries(item).filter(([key, member]) => member !== null && !used.includes(key));
  const meta: [string, unknown][] = [];
  const imageKey = used.find((key) => /^images?$|^image_(?:id|file)$/.test(key) && isGiven(item, key));
  for (const [key, member] of rest) {
    if (key === 'meta' && isObject(member)) {
      meta.push(...Object.entries(member));
      continue;
    }
    const carried = carries(key, member);
    if (
      carried !== undefined &&
      !(carried === 'an image' && imageKey !== undefined && isImagePlace(key, member, item[imageKey]))
    ) {
      const place = joinPath(path, key);
      if (carried === 'a video' || carried === 'audio')
        throw new RecordError(at, place, 'no video and no audio (images only)', describeValue(member));
      const read = used.filter((name) => name !== 'id').join(', ');
      throw new RecordError(
        at,
        place,
        `a column that this format reads (${read}), or one kept under meta`,
        `${carried} that would be lost (${describeValue(member)})`,
      );
    }
    meta.push([key, member]);
  }
  if (meta.length === 0) return {};
  const kept = withNumbersOf(item, Object.fromEntries(meta));
  return { meta: isObject(item.meta) ? withNumbersOf(item.meta, kept) : kept };
}

/** What the member seems to hold; undefined if it may go to `meta`. */
export function carries(name: string, value: unknown): string | undefined {
  const words = wordsOf(name);
  const named = namedCarrier(words);
  if (isEmpty(value)) return value === '' && named === 'a preference' ? named : undefined;
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return words.some((word) => VERDICTS.has(word)) && !words.some((word) => FACTS.has(word))
      ? 'a preference'
      : undefined;
  const held = mediaIn(value);
  if (held !== undefined) return held;
  if (isMessageList(value)) return 'a conversation';
  return FACTS.has(words.at(-1) ?? '') || LEADING_FACTS.has(words[0] ?? '') ? undefined : named;
}

// Words for a property of a thing (its id, size, score), as opposed to the thing.
const FACTS = new Set(
  (
    'id idx index score rating model source origin dataset split length len count num number size width height hash sha ' +
    'md category type kind language lang license task topic difficulty token logp logps logprob prob margin ratio time ' +
    'date version annotator level format key author name'
  ).split(' '),
);
const LEADING_FACTS = new Set('num n has is was score avg mean total'.split(' '));
// Words that make a number or boolean a preference.
const VERDICTS = new Set(
  'label kto preference preferred dispreferred chosen rejected reject winner loser better worse feedback choice correct best'.split(
    ' ',
  ),
);

const CARRIERS: readonly [string, ReadonlySet<string>][] = Object.entries({
  'a preference':
    'chosen rejected reject preferred dispreferred nonpreferred preference label kto winner loser win lose better worse best ' +
    'worst bad good positive negative accepted ranking feedback',
  'an answer': 'completion response answer output solution candidate generation',
  'a video': 'video clip movie',
  audio: 'audio speech sound voice wav',
  'an image': 'image img picture photo pixel frame figure screenshot pic thumbnail',
  'a text of the prompt':
    'prompt instruction question query input message conversation dialog dialogue history chat turn text content system ' +
    'tool function context passage choice option hint',
}).map(([what, words]) => [what, new Set(words.split(' '))]);

function namedCarrier(words: readonly string[]): string | undefined {
  return CARRIERS.find(([, names]) => words.some((word) => names.has(word)))?.[0];
}

/** "rejectedImages_2" = rejected, image. */
function wordsOf(name: string): string[] {
  const words = name
    .replace(/([a-z])(?=[A-Z])/g, '$1 ')
    .toLowerCase()
    .split(/[^a-z]+/);
  return words
    .filter((word) => word !== '')
    .map((word) => {
      if (word.endsWith('ies')) return `${word.slice(0, -3)}y`;
      return word.length > 3 && /[^s]s$/.test(word) ? word.slice(0, -1) : word;
    });
}

/** Whether the value is empty, or holds only empty values. */
export function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (Array.isArray(value)) return value.every(isEmpty);
  return isObject(value) && Object.values(value).every(isEmpty);
}

const ENDINGS: readonly [string, RegExp][] = [
  ['an image', /^[^\n]{1,1000}\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif|heic)$/i],
  ['a video', /^[^\n]{1,1000}\.(?:mp4|avi|mov|mkv|webm|mpe?g)$/i],
  ['audio', /^[^\n]{1,1000}\.(?:wav|mp3|flac|ogg|m4a|opus)$/i],
];

/** The kind of file that a value (or the first of a list) names or holds. */
function mediaIn(value: unknown): string | undefined {
  if (Array.isArray(value)) return value.length > 0 ? mediaIn(value[0]) : undefined;
  if (typeof value === 'string') {
    const uri = /^data:(image|video|audio)\//i.exec(value)?.[1]?.toLowerCase();
    if (uri !== undefined) return uri === 'audio' ? uri : uri === 'image' ? 'an image' : 'a video';
    return ENDINGS.find(([, ending]) => ending.test(value))?.[0];
  }
  if (!isObject(value)) return undefined;
  if (value.bytes !== undefined && 'path' in value) return mediaIn(value.path) ?? 'an image';
  return mediaIn(value.path ?? value.url);
}

function isMessageList(value: unknown): boolean {
  const first = Array.isArray(value) ? value[0] : undefined;
  return isObject(first) && (('role' in first && 'content' in first) || ('from' in first && 'value' in first));
}

/** Whether the member repeats the path of the image that is read: `image_path` beside `image`. */
function isImagePlace(key: string, value: unknown, image: unknown): boolean {
  const pattern =
    /^(?:orig(?:inal)?_)?(?:coco_|flickr_|source_|web_)?(?:ima?ge?)?_?(?:path|url|uri|file|filename|file_name|name|id)$/i;
  if (typeof value !== 'string' || !pattern.test(key)) return false;
  return typeof image !== 'string' || image.startsWith('data:') || fileName(image) === fileName(value);
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
