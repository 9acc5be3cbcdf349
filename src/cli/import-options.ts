// SPDX-License-Identifier: Apache-2.0
// The flags of import, and their conversion to options.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Flags, type Interfaces } from '@oclif/core';
import { createPixelPool } from '../pixels/pool.ts';
import { count } from '../records/count.ts';
import { UsageError } from '../records/error.ts';
import type { Cleaning } from '../stages/import/dialogue.ts';
import { FORMAT_FLAGS } from '../stages/import/format.ts';
import { type ImportCounts, type ImportOptions, importFormats } from '../stages/import/index.ts';
import { recordFlags } from './flags.ts';
import { checkOncePerSource, listFlag, parseLimits, splitSource } from './list-flags.ts';
import type { RunContext } from './run-context.ts';

export const importFlags = {
  ...recordFlags,
  source: listFlag({
    helpValue: 'NAME,...',
    summary: 'import only items of these sources; text: items without an image',
  }),
  turns: Flags.string({
    helpValue: 'N|all',
    summary: 'draw N questions per dialogue, one record each; default: one record per dialogue',
  }),
  limit: Flags.string({
    multiple: true,
    helpValue: '[SOURCE=]N',
    summary: 'draw N records, per source or in total; reads the files twice; may be repeated',
  }),
  'image-root': Flags.string({
    multiple: true,
    helpValue: '[SOURCE=]DIR',
    summary: 'directory that image paths are relative to, for one source or all; may be repeated',
  }),
  'check-images': Flags.boolean({
    summary: 'decode every image; a record with one that does not decode fails (see --on-error)',
  }),
  clean: Flags.option({ options: ['none', 'seva'] as const })({
    summary:
      'with --turns: keep questions as written, or remove image mark and request for a one-word answer; default: seva',
  }),
  protocol: Flags.option({ options: ['llava', 'plain'] as const })({
    summary:
      "benchmarks: end prompts as LLaVA-1.5's scripts do, or keep them as in the files; default: llava, for pope plain",
  }),
  'noisy-images': Flags.string({
    helpValue: 'DIR|FILE',
    summary: 'mt-bench: draw an unrelated image per turn, from a directory or a list of paths',
  }),
  'literal-marker': Flags.boolean({
    dependsOn: ['noisy-images'],
    summary: 'mt-bench: as in the published noisy-image runs, <image> is plain text and no image is passed',
  }),
  faithful: Flags.boolean({ summary: "reproduce the published code's quirks (see DESCRIPTION)" }),
};

type ImportFlags = Interfaces.InferredFlags<typeof importFlags>;

/** The options from the flags. Throws UsageError. */
export function importOptions(format: string, flags: ImportFlags): ImportOptions {
  checkFormatFlags(format, flags);
  const { source: sources, faithful, seed, turns: turnsText, 'image-root': roots = [], clean } = flags;
  const turns = turnsText === undefined || turnsText === 'all' ? turnsText : Number(turnsText);
  if (typeof turns === 'number' && !(Number.isSafeInteger(turns) && turns > 0))
    throw new UsageError(`--turns: expected an integer of at least 1, or all, got ${JSON.stringify(turnsText)}`);
  if (clean === 'seva' && turns === undefined)
    throw new UsageError('--clean: expected --turns with it, whole dialogues are kept as written');
  const cleaning: Cleaning =
    (clean ?? (turns === undefined ? 'none' : 'seva')) === 'none' ? 'none' : faithful ? 'seva-faithful' : 'seva';
  const imageRoots = roots.map((text) => {
    const { key: source, value: directory } = splitSource(text);
    if (directory === '') throw new UsageError(`--image-root: expected [SOURCE=]DIR, got ${JSON.stringify(text)}`);
    return { directory, ...(source !== undefined && { source }) };
  });
  checkOncePerSource('--image-root', imageRoots);
  const limits = parseLimits('--limit', flags.limit ?? []);
  return {
    format,
    selection: {
      limits,
      limitDialogues: faithful,
      seed,
      ...(sources && { sources }),
      ...(turns !== undefined && { turns }),
    },
    cleaning,
    imageRoots,
    ...(flags['check-images'] && { createPool: () => createPixelPool(flags.threads) }),
    setting: {
      protocol: flags.protocol,
      noisyImages: listNoisyImages(flags['noisy-images']),
      literalMarker: flags['literal-marker'],
    },
  };
}

/** Throws UsageError for a flag that the format does not honour. */
function checkFormatFlags(format: string, flags: ImportFlags): void {
  for (const flag of FORMAT_FLAGS) {
    if (flags[flag] === undefined || importFormats[format]?.flags?.includes(flag)) continue;
    const honouring = Object.keys(importFormats).filter((name) => importFormats[name]!.flags?.includes(flag));
    throw new UsageError(`--${flag}: import ${format} does not use it; formats that do: ${honouring.join(', ')}`);
  }
}

/** Image files of a folder in alphabetical order, or the lines of a list. */
function listNoisyImages(path: string | undefined): string[] | undefined {
  if (path === undefined) return undefined;
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) throw new UsageError(`--noisy-images: expected a folder or a list, got nothing at ${path}`);
  const images = stats.isDirectory()
    ? readdirSync(path)
        .filter((name) => /\.(?:jpe?g|png|webp)$/i.test(name))
        .sort()
        .map((name) => join(path, name))
    : readFileSync(path, 'utf8')
        .split(/\r?\n/)
        .filter((line) => line.trim() !== '');
  if (images.length === 0) throw new UsageError(`--noisy-images: expected images, got none in ${path}`);
  return images;
}

/** Prints notes on dropped items, and on sources in flags that no item has. */
export function noteCounts(
  counts: ImportCounts,
  options: ImportOptions,
  run: Pick<RunContext<unknown, unknown>, 'note' | 'warn'>,
): void {
  const { items, sources, otherSource, overLimit, badImages, markTexts } = counts;
  const parts = [`${count(items, 'item')} read`];
  if (otherSource > 0) parts.push(`${otherSource} of other sources`);
  if (overLimit > 0) parts.push(`${overLimit} over the limit`);
  if (parts.length > 1) run.note(parts.join(', '));
  for (const source of namedSources(options))
    if (items > 0 && !sources.has(source))
      run.warn(`no item of source ${source}; sources found: ${listCounts(sources)}`);
  if (markTexts > 0) run.note(`${count(markTexts, 'record')} without images: <image> in the text is kept as text`);
  const total = [...badImages.values()].reduce((sum, count) => sum + count, 0);
  if (total > 0) run.note(`${count(total, 'image')} missing or unreadable: ${listCounts(badImages)}`);
}

/** Sources named in flags; one that no item has is probably a typing error. */
function namedSources({ selection, imageRoots }: ImportOptions): Set<string> {
  const named = [...selection.limits, ...imageRoots].flatMap(({ source }) => source ?? []);
  return new Set([...(selection.sources ?? []), ...named]);
}

function listCounts(counts: ReadonlyMap<string, number>): string {
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 20);
  return `${most.map((pair) => pair.join(' ')).join(', ')}${counts.size > most.length ? ', ...' : ''}` || 'none';
}
