// SPDX-License-Identifier: Apache-2.0
// From messages to the text that the model reads: the checkpoint's own chat template, or a built-in one by name.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunError, UsageError } from '../records/error.ts';
import { IMAGE_MARK, placeImages, trimAroundImages } from '../records/prompt.ts';
import type { ContentPart, Message, VprefRecord } from '../records/record.ts';
import { type ModelTokenizer, readJsonObject } from './tokenizer.ts';

/** A turn whose contents are parts; every assistant turn is written out. */
export interface Turn {
  role: Message['role'];
  content: ContentPart[];
}

/** Renders turns and the start of the assistant's answer, with `<image>` where an image goes. */
export interface ChatTemplate {
  /** What records store in `sampling.template` and `ref.template`: "auto" or the built-in's name. */
  readonly name: string;
  render(turns: readonly Turn[]): string;
}

/** Names that `--template` takes besides auto. */
export const BUILT_IN_TEMPLATES = ['vicuna_v1', 'llava_v1', 'llama-2', 'plain'] as const;

/**
 * The template `name` for the checkpoint in `dir`: "auto" reads chat_template.jinja, chat_template.json, processor_config.json or
 * tokenizer_config.json, in this order. Throws UsageError for an unknown name, RunError{"template"} for auto without a template.
 */
export async function loadChatTemplate(
  name: string,
  dir: string,
  tokenizer: ModelTokenizer,
  hasVision: boolean,
): Promise<ChatTemplate> {
  if (name !== 'auto') return builtInTemplate(name);
  const source = await ownTemplateSource(dir, tokenizer);
  if (source === undefined) {
    throw new RunError(
      'template',
      `${dir}: expected a chat template (chat_template.jinja, chat_template.json or tokenizer_config.json), got none; ` +
        `choose one with --template ${BUILT_IN_TEMPLATES.join('|')}`,
    );
  }
  return jinjaTemplate(source, tokenizer, hasVision);
}

/** A built-in template. Source: haotian-liu/LLaVA conversation.py (texts and separators). */
export function builtInTemplate(name: string): ChatTemplate {
  const render = Object.hasOwn(BUILT_IN_RENDERERS, name) ? BUILT_IN_RENDERERS[name] : undefined;
  if (render === undefined) {
    throw new UsageError(`--template: expected auto, ${BUILT_IN_TEMPLATES.join(', ')}, got ${JSON.stringify(name)}`);
  }
  return { name, render };
}

/** The record's prompt as turns with one image part per image, and the assistant turns that are still to be generated as null. */
export function promptTurns(prompt: VprefRecord['prompt'], numImages: number): (Turn | null)[] {
  const original = typeof prompt === 'string' ? [prompt] : prompt.map(({ content }) => content);
  return placeImages(prompt, numImages).map(({ role, content }, index) => {
    if (content === null) return null;
    const parts = content as ContentPart[];
    return { role, content: typeof original[index] === 'string' ? trimAroundImages(parts) : parts };
  });
}

// --- built-in templates ---------------------------------------------------------------------------------------------------------

const BUILT_IN_RENDERERS: Record<string, (turns: readonly Turn[]) => string> = {
  vicuna_v1: (turns) =>
    renderVicuna(
      turns,
      'A chat between a curious user and an artificial intelligence assistant. ' +
        "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    ),
  llava_v1: (turns) =>
    renderVicuna(
      turns,
      'A chat between a curious human and an artificial intelligence assistant. ' +
        "The assistant gives helpful, detailed, and polite answers to the human's questions.",
    ),
  'llama-2': renderLlama2,
  plain: (turns) => turns.map((turn) => contentText(turn)).join('\n'),
};

// "SYSTEM USER: Q ASSISTANT: A</s>USER: Q ASSISTANT:"
function renderVicuna(turns: readonly Turn[], defaultSystem: string): string {
  const { system, dialogue } = splitSystem(turns, defaultSystem);
  let text = system === '' ? '' : `${system} `;
  for (const turn of dialogue) {
    text += turn.role === 'assistant' ? `ASSISTANT: ${contentText(turn)}</s>` : `USER: ${contentText(turn)} `;
  }
  return `${text}ASSISTANT:`;
}

// "[INST] <<SYS>>\nSYSTEM\n<</SYS>>\n\nQ [/INST] A </s><s>[INST] Q [/INST]"; the first <s> is the tokenizer's.
function renderLlama2(turns: readonly Turn[]): string {
  const { system, dialogue } = splitSystem(
    turns,
    'You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, ' +
      'and assist the user with a variety of tasks using natural language.',
  );
  let opening = system === '' ? '' : `<<SYS>>\n${system}\n<</SYS>>\n\n`;
  let text = '';
  for (const turn of dialogue) {
    if (turn.role === 'assistant') text += ` ${contentText(turn)} </s>`;
    else {
      text += `${text === '' ? '' : '<s>'}[INST] ${opening}${contentText(turn)} [/INST]`;
      opening = '';
    }
  }
  return text;
}

function splitSystem(turns: readonly Turn[], defaultSystem: string): { system: string; dialogue: Turn[] } {
  const own = turns.filter((turn) => turn.role === 'system').map((turn) => contentText(turn));
  return {
    system: own.length > 0 ? own.join('\n') : defaultSystem,
    dialogue: turns.filter((turn) => turn.role !== 'system'),
  };
}

// A single image stands first with a line break, as LLaVA's training put it; several stay where they were written.
function contentText({ content }: Turn): string {
  const images = content.filter((part) => part.type === 'image').length;
  const leading = content.slice(0, images).every((part) => part.type === 'image');
  if (images === 1 || leading) {
    const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('');
    return `${IMAGE_MARK}\n`.repeat(images) + text;
  }
  return content.map((part) => (part.type === 'text' ? part.text : IMAGE_MARK)).join('');
}

// --- the checkpoint's own template ----------------------------------------------------------------------------------------------

async function ownTemplateSource(dir: string, tokenizer: ModelTokenizer): Promise<string | undefined> {
  try {
    return await readFile(join(dir, 'chat_template.jinja'), 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new RunError('template', `${join(dir, 'chat_template.jinja')}: ${(cause as Error).message}`, { cause });
    }
  }
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
      const found = named.find((entry) => entry.name === 'default') ?? named[0];
      if (typeof found?.template === 'string') return found.template;
    }
  }
  return undefined;
}

async function jinjaTemplate(source: string, tokenizer: ModelTokenizer, hasVision: boolean): Promise<ChatTemplate> {
  const { Template } = await import('@huggingface/jinja');
  let template: InstanceType<typeof Template>;
  try {
    template = new Template(source);
  } catch (cause) {
    throw new RunError('template', `chat template: ${(cause as Error).message}`, { cause });
  }
  // Text-only templates take texts, unless they look into the parts themselves.
  const takesParts = hasVision || /selectattr|\[['"]type['"]\]|\.type\b/.test(source);
  return {
    name: 'auto',
    render(turns) {
      const messages = turns.map(({ role, content }) => ({
        role,
        content: takesParts ? content : content.map((part) => (part.type === 'text' ? part.text : IMAGE_MARK)).join(''),
      }));
      try {
        return template.render({ ...tokenizer.specialTokens, messages, add_generation_prompt: true });
      } catch (cause) {
        throw new RunError('template', `chat template: ${(cause as Error).message}`, { cause });
      }
    },
  };
}
