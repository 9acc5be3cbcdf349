// SPDX-License-Identifier: Apache-2.0
// Finds the text that a template writes around an assistant turn: renders a dialogue with the turn and compares it with the generation prompt.
import { RunError } from '../records/error.ts';
import type { Turn } from './chat-template.ts';
import type { ModelTokenizer } from './tokenizer.ts';

/** The text around a response. */
export interface AssistantTurn {
  /** White space between the prompt and the response. */
  joint(promptText: string): string;
  /** The token that ends it: the template's, or eos_token if it writes none. */
  end: string | undefined;
}

const QUESTION = 'Vprefquestionprobe';
const ANSWER = 'Vprefanswerprobe';
const HINT = 'choose another template with --template';

/** Throws RunError{"template"} if the rendering does not show the begin or end of a turn. */
export function probeAssistantTurn(
  render: (turns: readonly Turn[], start: boolean) => string,
  tokenizer: ModelTokenizer,
  eosIds: readonly number[],
  note: (message: string) => void,
): AssistantTurn {
  const user = turnOf('user', QUESTION);
  const prompt = render([user], true);
  const dialogue = renderDialogue(render, user);
  const at = dialogue.indexOf(ANSWER);
  if (at === -1) throw cannotTell('an assistant turn in a dialogue: the template does not write it unchanged');
  const joint = jointOf(prompt, dialogue.slice(0, at), note);
  return { joint: () => joint, end: endOf(dialogue.slice(at + ANSWER.length), tokenizer, eosIds) };
}

function turnOf(role: Turn['role'], text: string): Turn {
  return { role, content: [{ type: 'text', text }] };
}

// Some templates require a final user turn; then the response's suffix ends before that turn's text.
function renderDialogue(render: (turns: readonly Turn[], start: boolean) => string, user: Turn): string {
  const dialogue = [user, turnOf('assistant', ANSWER)];
  try {
    return render(dialogue, false);
  } catch (cause) {
    if (!(cause instanceof RunError)) throw cause;
    const next = 'Vprefnextprobe';
    return render([...dialogue, turnOf('user', next)], false).split(next)[0]!;
  }
}

function jointOf(prompt: string, before: string, note: (message: string) => void): string {
  // Further text of the prompt (an empty reasoning block) comes from template arguments.
  if (prompt.startsWith(before)) return '';
  if (!before.startsWith(prompt))
    throw cannotTell(
      `how an answer begins: the prompt to generate ends in ${shown(prompt.slice(-24))}, the text before an answer in ${shown(before.slice(-24))}`,
    );
  const between = before.slice(prompt.length);
  if (between.trim() === '') return between;
  note(
    `the chat template writes ${shown(between)} before an answer in a dialogue, not in the prompt to generate one: left out (where an argument of the template puts it into the prompt, give it with --template-arg)`,
  );
  return '';
}

function endOf(after: string, tokenizer: ModelTokenizer, eosIds: readonly number[]): string | undefined {
  const found = tokenizer.findAdded(after, eosIds);
  const text = found === undefined ? after : after.slice(0, found.index);
  if (text.trim() !== '')
    throw cannotTell(`how an answer ends: it is followed by ${shown(text)}, which is no token of the tokenizer`);
  return found?.token ?? tokenizer.eosToken;
}

function cannotTell(what: string): RunError {
  return new RunError('template', `chat template: does not show ${what}; ${HINT}`);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}
