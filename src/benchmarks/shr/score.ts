// SPDX-License-Identifier: Apache-2.0
// SHR: the share of an image description's sentences that a judge calls hallucinated. Source: HA-DPO ha_dpo/shr_eval.

import { pythonRound } from '../../python/number.ts';
import { numpyMean } from '../../python/numpy.ts';
import { pythonSplit, pythonStrip } from '../../python/text.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import { type Answer, type Label, rowId } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import { holdRecords, readJudged } from '../scoring/judged.ts';
import { type EvalOptions, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';

/** A sentence and the judge's class; null: the reply did not fit the sentences. */
export interface ShrSentence {
  text: string;
  label: string | null;
}

const CLASSES = ['hallucination', 'correct', 'cannot judge'];

/** The official sentences: split at full stops (also 3.5), without repeats and substrings of earlier ones, "." restored. */
function shrSentencesOfficial(text: string): string[] {
  const kept: string[] = [];
  for (const piece of text.split('.')) {
    const sentence = pythonStrip(piece);
    if (kept.some((earlier) => earlier.includes(sentence)) || sentence === '') continue;
    kept.push(`${sentence}.`);
  }
  return kept;
}

/** The official parser: one line per sentence after "Judgement:", its first word dropped, the class before the colon. */
export function parseShrOfficial(reply: string, response: string): ShrSentence[] | undefined {
  const sentences = shrSentencesOfficial(response);
  const lines = reply.split('\n').filter((line) => line !== '');
  const start = lines.findIndex((line) => line.includes('Judgement:'));
  if (start === -1) return undefined;
  const judged = lines
    .slice(start + 1)
    .map((line) => pythonStrip(line.split(' ').slice(1).join(' ')))
    .filter((line) => line !== '');
  const fits = judged.length === sentences.length;
  return sentences.map((text, index) => ({
    text,
    label: fits ? judged[index]!.split(':', 1)[0]!.toLowerCase() : null,
  }));
}

/** The same, but finds lines by their numbers and classes by their first words; other text is ignored. */
export function parseShrStrict(reply: string, response: string): ShrSentence[] | undefined {
  const said = withoutReasoning(reply);
  const sentences = shrSentencesOfficial(response);
  const start = said.search(/judge?ments?\s*:/i);
  if (start === -1) return undefined;
  const labels = new Map<number, string>();
  for (const line of said.slice(start).split('\n').slice(1)) {
    const match = /^\s*(\d+)[.):]\s*[*_]*(hallucination|correct|cannot judge)\b/i.exec(line);
    if (match !== null) labels.set(Number(match[1]), match[2]!.toLowerCase());
  }
  const fits = labels.size === sentences.length && sentences.every((_, index) => labels.has(index + 1));
  return sentences.map((text, index) => ({ text, label: fits ? labels.get(index + 1)! : null }));
}

/** Share of distinct n-grams of a text's words without punctuation; undefined for a text with none. */
function distinctNgrams(text: string, n: number): number | undefined {
  const words = pythonSplit(text.replace(/[.:\n?,]/g, ''));
  const grams = Array.from({ length: Math.max(0, words.length - n + 1) }, (_, k) => words.slice(k, k + n).join('\n'));
  return grams.length === 0 ? undefined : new Set(grams).size / grams.length;
}

/** One judged description. */
interface Described extends Answer {
  run: string;
  /** Undefined: the judge call failed. */
  sentences: ShrSentence[] | undefined;
}

/** Scores judgement files of the official script, or records judged with guide shr. */
export const scoreShr = benchmarkScorer<Label, Described, Described>({
  benchmark: 'shr',
  read({ answers: files, labels, options }) {
    const answers = holdRecords(files)
      ? describedRecords(files, options)
      : files.flatMap((file) => judgementFile(file, files, options));
    return { answers, labels: readLabels(labels, answers) };
  },
  mark: (joined) => joined.flatMap(({ answer }) => answer ?? []),
  figures: shrFigures,
  failed: (described) => described.filter(({ sentences }) => sentences === undefined).length,
  items: (described) =>
    [...groupBy(described, (entry) => entry.id)].flatMap(([id, group]) => {
      const known = group.flatMap(({ sentences }) => sentences?.filter(({ label }) => isClass(label)) ?? []);
      if (known.length === 0) return [];
      const wrong = known.filter(({ label }) => label === 'hallucination').length;
      return [{ split: '', id, cluster: id, value: wrong / known.length }];
    }),
});

function isClass(label: string | null): label is string {
  return label !== null && CLASSES.includes(label);
}

function shrFigures(described: Described[]) {
  const runs = [...groupBy(described, (entry) => entry.run).values()];
  const figures = runs.map((run) => runFigures(run));
  const mean = (name: keyof (typeof figures)[number]) =>
    finite(pythonRound(numpyMean(figures.map((run) => run[name])), 3));
  const ratio = mean('hal_sents_ratio');
  const [first = []] = runs;
  const texts = first.map((entry) => entry.text);
  const contributions = described.flatMap(({ id, sentences }) => {
    const known = (sentences ?? []).filter(({ label }) => isClass(label));
    return sentences === undefined
      ? []
      : [{ cluster: id, sums: [known.filter(({ label }) => label === 'hallucination').length, known.length] }];
  });
  return {
    n: first.filter(({ sentences }) => sentences !== undefined).length,
    // The script rounds each run's ratio to three decimals (a tenth of a percent), and their mean again.
    score: ratio === null ? null : pythonRound(100 * ratio, 1),
    hal_sents_ratio: ratio,
    hal_words_ratio: mean('hal_words_ratio'),
    sents_per_image: mean('sents_per_image'),
    words_per_image: mean('words_per_image'),
    hal_sents_per_image: mean('hal_sents_per_image'),
    hal_words_per_image: mean('hal_words_per_image'),
    ...Object.fromEntries([1, 2, 3, 4].map((n) => [`gram_${n}_repetition`, repetition(texts, n)])),
    ...(runs.length > 1 && { runs: figures.map((run) => finite(run.hal_sents_ratio)) }),
    ...clusteredInterval(contributions, ([hallucinated, known]) => (100 * hallucinated!) / known!, [0, 100]),
    sentences: described.reduce((sum, { sentences }) => sum + (sentences?.length ?? 0), 0),
    unparsed: described.filter(({ sentences }) => sentences?.some(({ label }) => !isClass(label))).length,
    failed: described.filter(({ sentences }) => sentences === undefined).length,
  };
}

// Descriptions with a failed judge call are in no figure; those with an unfitting reply count only for length.
function runFigures(run: Described[]) {
  const judged = run.flatMap(({ sentences }) => (sentences === undefined ? [] : [sentences]));
  const all = judged.flat();
  const known = all.filter(({ label }) => isClass(label));
  const bad = known.filter(({ label }) => label === 'hallucination');
  // Words are separated by single blanks, as in the script.
  const words = (sentences: ShrSentence[]) => sentences.reduce((sum, { text }) => sum + text.split(' ').length, 0);
  const round = (value: number) => pythonRound(value, 3);
  return {
    sents_per_image: round(all.length / judged.length),
    words_per_image: round(words(all) / judged.length),
    hal_sents_per_image: round(bad.length / judged.length),
    hal_words_per_image: round(words(bad) / judged.length),
    hal_sents_ratio: round(bad.length / known.length),
    hal_words_ratio: round(words(bad) / words(known)),
  };
}

function repetition(texts: string[], n: number): number | null {
  const shares = texts.map((text) => distinctNgrams(text, n)).filter((share) => share !== undefined);
  return finite(pythonRound(shares.reduce((sum, share) => sum + share, 0) / shares.length, 3));
}

function describedRecords(files: readonly EvalFile[], options: EvalOptions): Described[] {
  return readJudged(files, 'shr', options).map((judged) => {
    const text = judged.response?.text ?? '';
    const reply = judged.text;
    const verdict = isObject(judged.verdict) ? judged.verdict.sentences : undefined;
    const sentences = Array.isArray(verdict)
      ? verdict.map(
          (sentence): ShrSentence => ({ text: String(sentence?.text ?? ''), label: String(sentence?.label ?? '') }),
        )
      : reply === undefined
        ? undefined
        : readReply(reply, text, options);
    return {
      ...{ id: judged.id, at: judged.at, model: judged.model, text, row: {} },
      run: String(judged.run),
      sentences: judged.failed === undefined ? sentences : undefined,
    };
  });
}

function readReply(reply: string, response: string, options: EvalOptions): ShrSentence[] | undefined {
  return options.parse === 'official' ? parseShrOfficial(reply, response) : parseShrStrict(reply, response);
}

/** judgement.json: {run: {image id: {raw_judgement, mode_response, judgement: [{model_response, classification}]}}}. */
function judgementFile(file: EvalFile, files: readonly EvalFile[], options: EvalOptions): Described[] {
  const at = { source: file.path, line: 1 };
  const runs = Object.entries(file.object ?? {});
  if (runs.length === 0) throw new RecordError(at, 'file', 'judgement.json: {run: {image id: {...}}}', 'other rows');
  return runs.flatMap(([run, entries]) => {
    if (!isObject(entries))
      throw new RecordError(at, run, 'an object of judgements by image id', describeValue(entries));
    return Object.entries(entries).map(([id, entry], index) => {
      const here = { source: file.path, line: index + 1 };
      if (!isObject(entry)) throw new RecordError(here, `${run}.${id}`, 'an object', describeValue(entry));
      const text = entry.mode_response ?? entry.model_response;
      if (typeof text !== 'string')
        throw new RecordError(here, `${run}.${id}.mode_response`, 'the description, a string', describeValue(text));
      return {
        ...{ id, at: here, model: files.length > 1 ? file.stem : '', text, row: {} },
        run,
        sentences: sentencesOf(entry, `${run}.${id}`, here, text, options),
      };
    });
  });
}

function sentencesOf(
  { raw_judgement: reply, judgement }: Record<string, unknown>,
  field: string,
  at: Place,
  text: string,
  options: EvalOptions,
): ShrSentence[] | undefined {
  if (options.parse === 'strict' && typeof reply === 'string') return parseShrStrict(reply, text);
  if (judgement === undefined && typeof reply === 'string') return parseShrOfficial(reply, text);
  if (!Array.isArray(judgement))
    throw new RecordError(
      at,
      `${field}.judgement`,
      'an array of {model_response, classification}',
      describeValue(judgement),
    );
  return judgement.map((sentence, index) => {
    if (!isObject(sentence) || typeof sentence.model_response !== 'string')
      throw new RecordError(at, `${field}.judgement[${index}].model_response`, 'a string', describeValue(sentence));
    const label = sentence.classification;
    return { text: sentence.model_response, label: typeof label === 'string' ? label : null };
  });
}

/** val_images_final.json, or the judged images. */
function readLabels(files: readonly EvalFile[], described: readonly Described[]): Label[] {
  const rows = files.flatMap((file) => file.rows).filter(({ value }) => 'image_id' in value);
  if (rows.length > 0)
    return rows.map(({ value, at }) => {
      const id = rowId({ image_id: value.image_id }, at);
      return { id, split: '', cluster: id, at };
    });
  return [...new Map(described.map((entry) => [entry.id, entry])).values()].map(({ id, at }) => ({
    id,
    split: '',
    cluster: id,
    at,
  }));
}
