// SPDX-License-Identifier: Apache-2.0
// Renders messages to the model's text: by the checkpoint's chat template, or by a built-in one.
import { join } from 'node:path';
import { RunError, UsageError } from '../records/error.ts';
import { placeImages, trimAroundImages } from '../records/prompt.ts';
import type { ContentPart, Message, TemplateArgs, VprefRecord } from '../records/record.ts';
import { type AssistantTurn, probeAssistantTurn } from './assistant-turn.ts';
import { BUILT_IN_TEMPLATES, builtInTemplate } from './built-in-templates.ts';
import { type ContentKind, type ImageMarks, probeContentKind, stringContent } from './content-kind.ts';
import { parseTemplate } from './jinja/template.ts';
import { Callable, TemplateError, text } from './jinja/values.ts';
import { readJsonObject, readTextFile } from './json-file.ts';
import { isDate, strftime } from './strftime.ts';
import type { ModelTokenizer } from './tokenizer.ts';

/** A turn with content parts; every assistant turn has its text. */
export interface Turn {
  role: Message['role'];
  content: ContentPart[];
}

/** Renders turns and the start of the assistant's response, with the family's mark per image. */
export interface ChatTemplate {
  /** Value of `sampling.template` and `ref.template`: "auto" or the built-in's name. */
  readonly name: string;
  /** Value of `template_args`: the given arguments, and the date if the template uses one. */
  readonly args: TemplateArgs;
  render(turns: readonly Turn[]): string;
  /** Renders only the turns, responses included, without the start of another; absent in built-in templates. */
  renderWhole?(turns: readonly Turn[]): string;
  /** The text around a response. Throws RunError{"template"} if the template does not show it. */
  assistantTurn(): AssistantTurn;
}

export interface TemplateOptions {
  /** The family's image mark; absent for a text-only model. */
  image?: ImageMarks;
  /** Ids that end generation. */
  eosIds?: readonly number[];
  /** Variables of the template; strftime_now is the date for strftime_now(). */
  args?: TemplateArgs;
  /** The date if args have none: YYYY-MM-DD. */
  date?: string;
  note?(message: string): void;
}

/**
 * The template `name` for the checkpoint in `dir`: "auto" reads chat_template.jinja, chat_template.json, processor_config.json or
 * tokenizer_config.json, in this order. Throws UsageError for an unknown name, RunError{"template"} for auto without a template.
 */
export async function loadChatTemplate(
  name: string,
  dir: string,
  tokenizer: ModelTokenizer,
  options: TemplateOptions,
): Promise<ChatTemplate> {
  if (name !== 'auto') {
    const [argument] = Object.keys(options.args ?? {});
    if (argument !== undefined)
      throw new UsageError(`--template-arg ${argument}: the template ${name} has no arguments`);
    return builtInTemplate(name, tokenizer.eosToken, options.image);
  }
  const source = await ownTemplateSource(dir, tokenizer);
  if (source === undefined) {
    throw new RunError(
      'template',
      `${dir}: expected a chat template (chat_template.jinja, chat_template.json or tokenizer_config.json), got none; ` +
        `choose one with --template ${BUILT_IN_TEMPLATES.join('|')}`,
    );
  }
  return ownTemplate(source, tokenizer, options);
}

/**
 * The record's prompt as turns with one image part per image, and null for open assistant turns. Removes a line break beside an
 * image if the family's templates write it.
 */
export function promptTurns(
  prompt: VprefRecord['prompt'],
  numImages: number,
  { onOwnLine }: Pick<ImageMarks, 'onOwnLine'>,
): (Turn | null)[] {
  const original = typeof prompt === 'string' ? [prompt] : prompt.map(({ content }) => content);
  return placeImages(prompt, numImages).map(({ role, content }, index) => {
    if (content === null) return null;
    const parts = content as ContentPart[];
    return { role, content: onOwnLine && typeof original[index] === 'string' ? trimAroundImages(parts) : parts };
  });
}

async function ownTemplateSource(dir: string, tokenizer: ModelTokenizer): Promise<string | undefined> {
  const own = await readTextFile(join(dir, 'chat_template.jinja'), 'template');
  if (own !== undefined) return own;
  const configs = [
    await readJsonObject(join(dir, 'chat_template.json'), 'template'),
    await readJsonObject(join(dir, 'processor_config.json'), 'template'),
    tokenizer.config,
  ];
  for (const config of configs) {
    const source = config?.chat_template;
    if (typeof source === 'string') return source;
    if (Array.isArray(source)) {
      const named = source as { name?: unknown; template?: unknown }[];
      const found = named.find((entry) => entry.name === 'default');
      if (typeof found?.template === 'string') return found.template;
      if (named.length > 0)
        throw new RunError(
          'template',
          `${dir}: chat_template: expected one of several templates named default, got ${named.map(({ name }) => name).join(', ')}`,
        );
    }
  }
  return undefined;
}

/** Name of the date among a template's arguments, equal to the function that uses it. */
export const DATE_ARGUMENT = 'strftime_now';
/** Variables that we pass to the template. */
const RESERVED_ARGUMENTS = ['messages', 'add_generation_prompt'];

// A text-only model has no images.
const NO_IMAGES: ImageMarks = { mark: '', onOwnLine: false };

async function ownTemplate(source: string, tokenizer: ModelTokenizer, options: TemplateOptions): Promise<ChatTemplate> {
  const { image, eosIds = [], date, note } = options;
  const given = checkedArguments(options.args ?? {}, source);
  const hasDate = source.includes(DATE_ARGUMENT);
  const day = given[DATE_ARGUMENT] ?? date ?? today();
  const { [DATE_ARGUMENT]: _date, ...variables } = given;
  const template = await parseTemplate(source).catch((cause: unknown) => failed(cause));
  const renderMessages = (messages: unknown[], start: boolean): string => {
    try {
      return template.render({
        ...tokenizer.specialTokens,
        // As in transformers, these exist and are None.
        tools: null,
        documents: null,
        [DATE_ARGUMENT]: new Callable(({ list }) => strftime(text(list[0] ?? ''), String(day))),
        ...variables,
        messages,
        add_generation_prompt: start,
      });
    } catch (cause) {
      return failed(cause);
    }
  };
  let kind: ContentKind | undefined;
  const render = (turns: readonly Turn[], start: boolean): string => {
    kind ??= probeContentKind((messages) => renderMessages(messages, true), image !== undefined);
    const messages = turns.map(({ role, content }) => ({
      role,
      content: kind === 'parts' ? content : stringContent(content, image ?? NO_IMAGES),
    }));
    return renderMessages(messages, start);
  };
  let turn: AssistantTurn | undefined;
  return {
    name: 'auto',
    args: sorted(hasDate ? { ...variables, [DATE_ARGUMENT]: String(day) } : variables),
    render: (turns) => render(turns, true),
    renderWhole: (turns) => render(turns, false),
    assistantTurn() {
      turn ??= probeAssistantTurn(render, tokenizer, eosIds, note ?? (() => undefined));
      return turn;
    },
  };
}

function checkedArguments(args: TemplateArgs, source: string): TemplateArgs {
  for (const [name, value] of Object.entries(args)) {
    if (name === DATE_ARGUMENT && !isDate(String(value)))
      throw new UsageError(`--template-arg ${name}: expected a date YYYY-MM-DD, got ${JSON.stringify(value)}`);
    if (RESERVED_ARGUMENTS.includes(name)) throw new UsageError(`--template-arg ${name}: set by the records`);
    if (!new RegExp(`(?<![\\w$])${name}(?![\\w$])`).test(source))
      throw new UsageError(`--template-arg ${name}: the checkpoint's chat template does not use it`);
  }
  return args;
}

function failed(cause: unknown): never {
  if (!(cause instanceof TemplateError)) throw cause;
  throw new RunError('template', `chat template: ${cause.message}`, { cause });
}

/** The arguments sorted by name, so equal arguments give equal bytes. */
function sorted(args: TemplateArgs): TemplateArgs {
  return Object.fromEntries(Object.entries(args).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The local date, as in transformers' strftime_now. */
export function today(): string {
  const now = new Date();
  const two = (value: number) => String(value).padStart(2, '0');
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
}
