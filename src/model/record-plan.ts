// SPDX-License-Identifier: Apache-2.0
// Template, image mode and pixel limits of a record: its `ref` or `sampling` decides, and a flag with another value is an error of the record.
import type { ImageMode, ImagePlan } from '../../families/family.ts';
import type { Quantize } from '../engine/requests.ts';
import type { Row } from '../flow/stage.ts';
import { RecordError } from '../records/error.ts';
import { IMAGE_MARK } from '../records/prompt.ts';
import type { ContentPart, RefFingerprint, Sampling, TemplateArgs } from '../records/record.ts';
import { DATE_ARGUMENT } from '../text/chat-template.ts';
import { isDate } from '../text/strftime.ts';
import type { ModelContext, ModelVision, RecordPlan } from './context.ts';

/** Throws RecordError if the record conflicts with the command line or with the model's family. */
export async function planRecord(row: Row, context: ModelContext): Promise<RecordPlan> {
  const template = settleTemplate(row, context.template.asked) ?? context.template.otherwise;
  const images = context.vision && planImages(row, context.vision);
  const args = settleArguments(row, context.templateArgs ?? {});
  noteSpecialText(row, context);
  return { template: await context.loadTemplate(template, args), ...(images && { images }) };
}

function settleTemplate(row: Row, asked: string | undefined): string | undefined {
  const source = sourceOf(row, 'template');
  return agreed(row, source, 'template', asked) as string | undefined;
}

function planImages(row: Row, vision: ModelVision): ImagePlan {
  const { family, name, plan, asked, onFamilyMode } = vision;
  const source = sourceOf(row, 'image_mode');
  const mode = agreed(row, source, 'image_mode', asked.mode) as ImageMode | undefined;
  const modes: readonly string[] = family.imageModes;
  if (mode !== undefined && !modes.includes(mode))
    throw new RecordError(row, `${source}.image_mode`, `${modes.join(' or ')} (${name})`, JSON.stringify(mode));
  if (mode === undefined && (row.record.images?.length ?? 0) > 0) onFamilyMode?.();
  const maxPixels = agreed(row, source, 'max_pixels', asked.maxPixels) as number | undefined;
  const minPixels = agreed(row, source, 'min_pixels', asked.minPixels) as number | undefined;
  for (const [field, value] of Object.entries({ max_pixels: maxPixels, min_pixels: minPixels }))
    if (value !== undefined && !family.hasPixelLimits)
      throw new RecordError(row, `${source}.${field}`, `nothing (${name} has no such limit)`, String(value));
  const chosen = family.choosePlan(plan, {
    ...(mode !== undefined && { mode }),
    ...(maxPixels !== undefined && { maxPixels }),
    ...(minPixels !== undefined && { minPixels }),
  });
  const { minPixels: least = 0, maxPixels: most = Number.POSITIVE_INFINITY } = chosen;
  if (least > most) throw new RecordError(row, `${source}.max_pixels`, `at least min_pixels (${least})`, String(most));
  return chosen;
}

type Source = 'ref' | 'sampling';

/** The one of `ref` and `sampling` that records the rendering. */
function sourceOf({ record: { ref } }: Row, field: 'template' | 'image_mode'): Source {
  return ref?.[field] === undefined ? 'sampling' : 'ref';
}

// The record's value, else the command line's.
function agreed(
  row: Row,
  source: Source,
  field: 'template' | 'image_mode' | 'max_pixels' | 'min_pixels',
  asked: string | number | undefined,
): string | number | undefined {
  const carried = (row.record[source] as Sampling | RefFingerprint | undefined)?.[field];
  if (carried !== undefined && asked !== undefined && asked !== carried) {
    const flag = `--${field.replace('_', '-')}`;
    throw new RecordError(
      row,
      `${source}.${field}`,
      `${JSON.stringify(asked)} as ${flag} says`,
      JSON.stringify(carried),
    );
  }
  return carried ?? asked;
}

// The record's arguments override, if it records its rendering.
function settleArguments(row: Row, asked: TemplateArgs): TemplateArgs {
  const { ref, sampling } = row.record;
  const source = ref?.template === undefined ? sampling : ref;
  if (source?.template === undefined) return asked;
  const carried = source.template_args ?? {};
  const field = `${source === ref ? 'ref' : 'sampling'}.template_args`;
  for (const [name, value] of Object.entries(asked)) {
    const [wanted, got] = [JSON.stringify(value), JSON.stringify(carried[name]) ?? 'nothing'];
    if (wanted !== got) throw new RecordError(row, `${field}.${name}`, `${wanted} (--template-arg)`, got);
  }
  const date = carried[DATE_ARGUMENT];
  if (date !== undefined && !(typeof date === 'string' && isDate(date)))
    throw new RecordError(row, `${field}.${DATE_ARGUMENT}`, 'a date YYYY-MM-DD', JSON.stringify(date));
  return carried;
}

// Special tokens in a text are parsed as tokens, as in transformers.
function noteSpecialText(row: Row, { onSpecialText, tokenizer }: ModelContext): void {
  if (onSpecialText === undefined) return;
  const { prompt, chosen, rejected, response, responses, choices } = row.record;
  const turns = typeof prompt === 'string' ? [prompt] : prompt.map(({ content }) => content);
  const written = turns
    .flatMap((content): (string | ContentPart)[] => (Array.isArray(content) ? content : [content ?? '']))
    .map((part) => (typeof part === 'string' ? part : part.type === 'text' ? part.text : ''))
    .map((text) => text.replaceAll(IMAGE_MARK, ''));
  const answers = [chosen, rejected, response, choices, responses?.map(({ text }) => text)].flat(2);
  for (const text of [...written, ...answers]) {
    const found = text === undefined ? undefined : tokenizer.findSpecial(text);
    if (found !== undefined) {
      onSpecialText(row, found.token);
      return;
    }
  }
}

/** The members of `sampling` and `ref` about the model and the rendering. */
export function provenance(
  plan: RecordPlan,
  context: ModelContext,
): {
  model: string;
  adapter: string | string[] | null;
  dtype: string;
  template: string;
  template_args?: TemplateArgs;
  image_mode?: string;
  max_pixels?: number;
  min_pixels?: number;
  quantize?: Quantize;
} {
  const { fingerprint, engine } = context;
  const { dtype, quantize } = engine.info;
  const { name, args } = plan.template;
  return {
    ...fingerprint,
    dtype,
    ...(quantize !== 'none' && { quantize }),
    template: name,
    ...(Object.keys(args).length > 0 && { template_args: args }),
    ...(plan.images && imageFields(plan.images)),
  };
}

/** The image mode and limits, in a record's form. */
export function imageFields({ mode, maxPixels, minPixels }: ImagePlan): {
  image_mode: string;
  max_pixels?: number;
  min_pixels?: number;
} {
  return {
    image_mode: mode,
    ...(maxPixels !== undefined && { max_pixels: maxPixels }),
    ...(minPixels !== undefined && { min_pixels: minPixels }),
  };
}
