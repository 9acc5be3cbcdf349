// SPDX-License-Identifier: Apache-2.0
// Removes the reasoning that a model writes before its answer.

/** One pair of reasoning marks, case-insensitive: begin and end. */
interface Marks {
  open: string;
  close: string;
}

const NAME = '(?:seed:)?(?<NAME>think|thinking|thought|thoughts|reasoning|reason|reflection|analysis|scratchpad)';

const MARKS: Marks[] = [
  { open: `<${NAME.replace('NAME', 'opened')}>`, close: `</${NAME.replace('NAME', 'closed')}>` },
  { open: '\\[THINK\\]', close: '\\[/THINK\\]' },
  { open: '\u25c1think\u25b7', close: '\u25c1/think\u25b7' },
  { open: '<\\|begin_of_thought\\|>', close: '<\\|end_of_thought\\|>' },
  { open: '<unused94>', close: '<unused95>' },
  { open: '<\\|channel\\|>(?:analysis|commentary)<\\|message\\|>', close: '<\\|end\\|>' },
];

/** Marks around the answer in such replies. */
const WRAPPERS = [
  /^<answer>([\s\S]*)<\/answer>$/i,
  /^<\|begin_of_solution\|>([\s\S]*?)(?:<\|end_of_solution\|>)?$/i,
  /^(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>([\s\S]*?)(?:<\|(?:end|return)\|>)?$/i,
];

/** Whether a text contains marked reasoning. */
export function holdsReasoning(text: string): boolean {
  return withoutReasoning(text) !== text;
}

/**
 * The text after its reasoning blocks; unchanged if there is none. A block may lack its opening mark, which some
 * templates write into the prompt. An unfinished block leaves an empty text, because the answer is
 * unknown. An opening mark counts only at the start of a line, so an answer may mention one.
 */
export function withoutReasoning(text: string): string {
  // Fast path for most texts.
  if (!/[<[\u25c1]/.test(text) || isJson(text)) return text;
  let rest = text;
  for (const marks of MARKS) rest = withoutBlocks(rest, marks);
  if (rest === text) return text;
  const answer = rest.trim();
  const inner = WRAPPERS.map((wrapper) => wrapper.exec(answer)?.[1]).find((found) => found !== undefined);
  return (inner ?? answer).trim();
}

/** One pass over the marks of a kind; a block is closed by the mark of its own name. */
function withoutBlocks(text: string, { open, close }: Marks): string {
  const marks = new RegExp(
    `(?:(?<lead>^[ \\t]*(?:<\\|start\\|>assistant)?)|)(?:(?<open>${open})|(?<close>${close}))`,
    'gim',
  );
  let kept: string[] = [];
  let from = 0;
  let depth = 0;
  let mentions = 0;
  let name: string | undefined;
  for (const mark of text.matchAll(marks)) {
    const groups = mark.groups!;
    const end = mark.index + mark[0].length;
    if (groups.open !== undefined) {
      const opened = groups.opened?.toLowerCase();
      if (depth > 0) depth += groups.lead !== undefined && opened === name ? 1 : 0;
      else if (groups.lead === undefined) mentions += 1;
      else {
        kept.push(text.slice(from, mark.index));
        depth = 1;
        name = opened;
      }
    } else if (depth > 0) {
      if (groups.closed?.toLowerCase() !== name) continue;
      depth -= 1;
      from = end;
    } else if (mentions > 0) mentions -= 1;
    else {
      // Closed but never opened: the template opened it.
      kept = [];
      from = end;
    }
  }
  return depth > 0 ? '' : kept.join('') + text.slice(from);
}

function isJson(text: string): boolean {
  if (!/^\s*[[{"]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
