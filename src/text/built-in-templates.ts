// SPDX-License-Identifier: Apache-2.0
// The templates of --template: turns in the original LLaVA's form. Source: haotian-liu/LLaVA conversation.py (texts and separators).
import { UsageError } from '../records/error.ts';
import type { ChatTemplate, Turn } from './chat-template.ts';
import type { ImageMarks } from './content-kind.ts';

/** Values of `--template` besides auto. */
export const BUILT_IN_TEMPLATES = ['vicuna_v1', 'llava_v1', 'llama-2', 'plain'] as const;

/** The template of that name; its turns end with `eosToken`. Throws UsageError for an unknown name. */
export function builtInTemplate(name: string, eosToken?: string, image: ImageMarks = LLAVA_MARKS): ChatTemplate {
  const render = Object.hasOwn(BUILT_IN_RENDERERS, name) ? BUILT_IN_RENDERERS[name] : undefined;
  if (render === undefined) {
    throw new UsageError(`--template: expected auto, ${BUILT_IN_TEMPLATES.join(', ')}, got ${JSON.stringify(name)}`);
  }
  return {
    name,
    args: {},
    render: (turns) => render(turns, image),
    // A blank, unless the prompt already ends in white space.
    assistantTurn: () => ({
      joint: (promptText) => (promptText === '' || /\s$/.test(promptText) ? '' : ' '),
      end: eosToken,
    }),
  };
}

/** `<image>` on a separate line. */
const LLAVA_MARKS: ImageMarks = { mark: '<image>', onOwnLine: true };

type Renderer = (turns: readonly Turn[], image: ImageMarks) => string;

const BUILT_IN_RENDERERS: Record<string, Renderer> = {
  vicuna_v1: (turns, image) =>
    renderVicuna(
      turns,
      image,
      'A chat between a curious user and an artificial intelligence assistant. ' +
        "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    ),
  llava_v1: (turns, image) =>
    renderVicuna(
      turns,
      image,
      'A chat between a curious human and an artificial intelligence assistant. ' +
        "The assistant gives helpful, detailed, and polite answers to the human's questions.",
    ),
  'llama-2': renderLlama2,
  plain: (turns, image) => turns.map((turn) => contentText(turn, image)).join('\n'),
};

// "SYSTEM USER: Q ASSISTANT: A</s>USER: Q ASSISTANT:"
function renderVicuna(turns: readonly Turn[], image: ImageMarks, defaultSystem: string): string {
  const { system, dialogue } = splitSystem(turns, image, defaultSystem);
  let text = system === '' ? '' : `${system} `;
  for (const turn of dialogue) {
    text +=
      turn.role === 'assistant' ? `ASSISTANT: ${contentText(turn, image)}</s>` : `USER: ${contentText(turn, image)} `;
  }
  return `${text}ASSISTANT:`;
}

// "[INST] <<SYS>>\nSYSTEM\n<</SYS>>\n\nQ [/INST] A </s><s>[INST] Q [/INST]"; the first <s> is the tokenizer's.
function renderLlama2(turns: readonly Turn[], image: ImageMarks): string {
  const { system, dialogue } = splitSystem(
    turns,
    image,
    'You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, ' +
      'and assist the user with a variety of tasks using natural language.',
  );
  let opening = system === '' ? '' : `<<SYS>>\n${system}\n<</SYS>>\n\n`;
  let text = '';
  for (const turn of dialogue) {
    if (turn.role === 'assistant') text += ` ${contentText(turn, image)} </s>`;
    else {
      text += `${text === '' ? '' : '<s>'}[INST] ${opening}${contentText(turn, image)} [/INST]`;
      opening = '';
    }
  }
  return text;
}

function splitSystem(
  turns: readonly Turn[],
  image: ImageMarks,
  defaultSystem: string,
): { system: string; dialogue: Turn[] } {
  const own = turns.filter((turn) => turn.role === 'system').map((turn) => contentText(turn, image));
  return {
    system: own.length > 0 ? own.join('\n') : defaultSystem,
    dialogue: turns.filter((turn) => turn.role !== 'system'),
  };
}

// If training put images on separate lines, a single image comes first with a line break; several keep their positions.
function contentText({ content }: Turn, { mark, onOwnLine }: ImageMarks): string {
  const images = content.filter((part) => part.type === 'image').length;
  const leading = content.slice(0, images).every((part) => part.type === 'image');
  if (onOwnLine && (images === 1 || leading)) {
    const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('');
    return `${mark}\n`.repeat(images) + text;
  }
  return content.map((part) => (part.type === 'text' ? part.text : mark)).join('');
}
