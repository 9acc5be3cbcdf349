// SPDX-License-Identifier: Apache-2.0
// Writes man/vpref.1 and man/vpref-VERB.1 from the flags' definitions and the prose of man/prose/VERB.md.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Benchmark } from '../src/benchmarks/benchmark.ts';
import { benchmarks } from '../src/benchmarks/by-name.ts';
import { groupFlags } from '../src/cli/flag-groups.ts';
import { type CommandEntry, emit, type Flag, listExamples, listFlags, readCommands, root } from './manifest.ts';
import { guard, roff, verbatim } from './roff.ts';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** Date of this version's text. */
const date = '2026-11-29';
/** Parts of a benchmark's entry, each on its own line. */
const PART = /\n {2}(?=(?:Output|Answers|Labels|Questions|Tables|Example|Source|Published)\b[^:.]*: )/;

const commands = readCommands();

for (const command of commands) emit(`man/vpref-${command.id}.1`, commandPage(command));
emit('man/vpref.1', mainPage());

function commandPage(command: CommandEntry): string {
  const { lead, sections, examples: printed } = readProse(command.id);
  const flags = listFlags(command);
  const examples = listExamples(command);
  return page(`vpref-${command.id}`, [
    section('NAME', `vpref\\-${roff(command.id)} \\- ${inline(command.summary ?? '')}`),
    section('SYNOPSIS', `\\fBvpref ${roff(synopsis(command))}\\fR`),
    section('DESCRIPTION', ...paragraphs(command.description), ...lead),
    args(command),
    flags.length > 0 ? section('OPTIONS', ...groupFlags(command.id, flags).map(flagSection)) : '',
    inapplicable(command),
    ...sections,
    section('EXIT STATUS', 'See \\fBvpref\\fR(1).'),
    section('EXAMPLES', ...examples.map(exampleEntry), ...printed),
    section('SEE ALSO', seeAlso(command.id)),
  ]);
}

function mainPage(): string {
  const { lead, sections, examples } = readProse('vpref');
  const verbs = commands.map(
    (command) => `.TP\n\\fBvpref\\-${roff(command.id)}\\fR(1)\n${inline(command.summary ?? '')}`,
  );
  return page('vpref', [
    section('NAME', 'vpref \\- build preference data for vision\\-language models, and align the models with it'),
    section('SYNOPSIS', '\\fBvpref\\fR \\fIVERB\\fR [\\fIARGUMENT\\fR] [\\fIFILE\\fR...]'),
    section('DESCRIPTION', ...lead),
    section('VERBS', ...verbs),
    ...sections,
    section('EXAMPLES', ...examples),
    section('SEE ALSO', seeAlso('')),
  ]);
}

function page(name: string, parts: string[]): string {
  const head = `.\\" Made by scripts/man.ts: change the flags in src/commands, or the prose in man/prose.\n.TH ${name.toUpperCase()} 1 "${date}" "vpref ${version}" "User Commands"`;
  return `${[head, ...parts.filter(Boolean)].join('\n')}\n`;
}

function section(title: string, ...body: string[]): string {
  return `.SH ${title}\n${body
    .filter(Boolean)
    .join('\n')
    .replace(/^\.PP\n/, '')}`;
}

function synopsis(command: CommandEntry): string {
  const usage = Array.isArray(command.usage) ? command.usage[0] : command.usage;
  if (usage !== undefined) return usage;
  const names = Object.values(command.args).map(({ name }) => name.toUpperCase());
  return [command.id, ...names, '[FILE...]', '[flags]'].join(' ');
}

function args(command: CommandEntry): string {
  const entries = Object.values(command.args).map(
    (arg) => `.TP\n\\fI${roff(arg.name.toUpperCase())}\\fR\n${inline(arg.description ?? '')}${oneOf(arg.options)}`,
  );
  return entries.length > 0 ? section('ARGUMENTS', ...entries) : '';
}

function flagSection({ group, flags }: { group: string | undefined; flags: Flag[] }): string {
  return `${group === undefined ? '' : `.SS ${group}\n`}${flags.map(flagEntry).join('\n')}`;
}

function flagEntry(flag: Flag): string {
  const short = flag.char ? `\\fB\\-${flag.char}\\fR, ` : '';
  const long = `\\fB\\-\\-${flag.allowNo ? '[no\\-]' : ''}${roff(flag.name)}\\fR`;
  const value = Array.isArray(flag.helpValue) ? flag.helpValue.join(' ') : flag.helpValue;
  const operand =
    flag.type === 'option' ? ` \\fI${roff(value ?? flag.options?.join('|') ?? flag.name.toUpperCase())}\\fR` : '';
  const notes = [
    flag.required ? 'required' : '',
    flag.default === undefined || flag.default === false ? '' : `default: ${String(flag.default)}`,
    flag.multiple ? 'may be repeated' : '',
  ].filter(Boolean);
  const summary = flag.summary ?? flag.description ?? '';
  const extra =
    flag.summary !== undefined ? paragraphs(flag.description).map((text) => text.replace(/^\.PP/, '.IP')) : [];
  const shown = summary.includes('may be repeated') ? notes.filter((note) => note !== 'may be repeated') : notes;
  return [
    `.TP\n${short}${long}${operand}\n${inline(`${summary}${shown.length > 0 ? ` (${shown.join('; ')})` : ''}`)}`,
    ...extra,
  ].join('\n');
}

/** Common flags that the command refuses. */
function inapplicable({ inapplicable: flags = {} }: CommandEntry): string {
  const entries = Object.entries(flags).map(([name, why]) => `.TP\n\\fB\\-\\-${roff(name)}\\fR\n${inline(why)}`);
  return entries.length > 0 ? section('UNAVAILABLE COMMON OPTIONS', ...entries) : '';
}

function exampleEntry({ description, command }: { description: string; command: string }): string {
  const lead = description === '' ? '' : `.PP\n${inline(description)}:\n`;
  return `${lead}.PP\n.RS 4\n.nf\n${command.split('\n').map(verbatim).join('\n')}\n.fi\n.RE`;
}

function seeAlso(id: string): string {
  const pages = [...commands.map((command) => `vpref-${command.id}(1)`), 'vpref-records(5)'];
  for (const page of ['vpref-pipelines', 'vpref-slurm'])
    if (existsSync(join(root, `man/${page}.7`))) pages.push(`${page}(7)`);
  if (id !== '') pages.unshift('vpref(1)');
  return pages
    .filter((name) => name !== `vpref-${id}(1)`)
    .map((name) => `\\fB${roff(name.slice(0, -3))}\\fR${name.slice(-3)}`)
    .join(', ');
}

function oneOf(options: string[] | undefined): string {
  return options === undefined ? '' : `: ${options.map((option) => `\\fB${roff(option)}\\fR`).join(', ')}`;
}

interface Prose {
  /** Text before the first heading. */
  lead: string[];
  /** Each "## TITLE" except Examples, which follow the flags' examples. */
  sections: string[];
  examples: string[];
}

function readProse(id: string): Prose {
  const text = readFileSync(join(root, `man/prose/${id}.md`), 'utf8')
    .replace(/<!--[\s\S]*?-->\s*/g, '')
    .replace(/^@benchmarks (\w+)$/m, (_, kind) => benchmarkList(kind));
  const [lead = '', ...rest] = text.split(/^## /m);
  const parts = rest.map((part) => {
    const newline = part.indexOf('\n');
    return { title: part.slice(0, newline).trim().toUpperCase(), body: paragraphs(part.slice(newline)) };
  });
  return {
    lead: paragraphs(lead),
    sections: parts.filter(({ title }) => title !== 'EXAMPLES').map(({ title, body }) => section(title, ...body)),
    examples: parts.filter(({ title }) => title === 'EXAMPLES').flatMap(({ body }) => body),
  };
}

/**
 * The entries `import: ...`, `eval: ...` or `guide NAME: ...` of each benchmark's man.md, in order of name. An entry of eval gets the line `example: ...`
 * and the benchmark's source.
 */
function benchmarkList(kind: string): string {
  return [...benchmarks.values()]
    .flatMap((benchmark) => {
      const text = readFileSync(join(root, 'src/benchmarks', benchmark.name, 'man.md'), 'utf8').trim();
      const entries = text.split(/\n(?=(?:import|eval|example|guide \S+): )/).map((entry) => {
        const [, key, own, said] = /^(\w+)(?: (\S+))?: (.*)$/s.exec(entry) ?? [];
        return { key, own, said };
      });
      const example = entries.find(({ key }) => key === 'example')?.said;
      const more = [example && `Example: \`${example}\``, sourceOf(benchmark)].filter(Boolean);
      const after = kind === 'eval' ? more.map((line) => `\n  ${line}`).join('') : '';
      return entries
        .filter(({ key }) => key === kind)
        .map(({ own, said }) => `- \`${own ?? benchmark.name}\`: ${said}${after}`);
    })
    .join('\n');
}

/** Paper of a benchmark, and the tables whose rows `eval --format table` prints. */
function sourceOf({ paper, published = [] }: Benchmark): string {
  const tables = [...new Set(published.map(({ source }) => source))];
  const printed = tables.length === 0 ? '' : ` Published rows: ${tables.join(', ')}.`;
  return paper === undefined ? printed.trim() : `Source: ${paper}.${printed}`;
}

/** Markdown blocks as roff: paragraphs, "- " lists, "### " headings, fenced code. */
function paragraphs(text: string | undefined): string[] {
  const blocks: string[] = [];
  const fences = (text ?? '').split(/^```.*\n/m);
  for (const [index, piece] of fences.entries()) {
    if (index % 2 === 1) {
      blocks.push(`.PP\n.RS 4\n.nf\n${piece.trimEnd().split('\n').map(verbatim).join('\n')}\n.fi\n.RE`);
      continue;
    }
    for (const block of piece
      .split(/\n\s*\n/)
      .map((part) => part.replace(/^\n+|\s+$/g, ''))
      .filter(Boolean))
      blocks.push(listBlock(block) ?? markdownBlock(block.trim()));
  }
  return blocks;
}

/** Lines indented by two spaces are a table, as in --help: they stay unchanged. */
function listBlock(block: string): string | undefined {
  if (block.startsWith('- ')) return undefined;
  const [, lead, list] = /^((?! ).*?)(?:^|\n)((?: {2}.*(?:\n|$))+)$/s.exec(block) ?? [];
  if (list === undefined) return undefined;
  const head = lead === '' || lead === undefined ? [] : [markdownBlock(lead)];
  return [
    ...head,
    `.RS 2\n.nf\n${list
      .trimEnd()
      .split('\n')
      .map((line) => verbatim(line.slice(2)))
      .join('\n')}\n.fi\n.RE`,
  ].join('\n');
}

function markdownBlock(block: string): string {
  if (block.startsWith('### ')) return `.SS ${inline(block.slice(4))}`;
  if (!block.startsWith('- ')) return `.PP\n${inline(block.replace(/\s*\n\s*/g, ' '))}`;
  return block
    .split(/\n(?=- )/)
    .map((item) =>
      item
        .slice(2)
        .split(PART)
        .map((part) => part.replace(/\s*\n\s*/g, ' ')),
    )
    .map(([item, ...parts]) => {
      const term = /^`([^`]+)`: (.*)$/s.exec(item!);
      const lines = parts.map((part) => `\n.br\n${inline(part)}`).join('');
      const head = term ? `.TP\n\\fB${roff(term[1]!)}\\fR\n${inline(term[2]!)}` : `.IP \\(bu 2\n${inline(item!)}`;
      return head + lines;
    })
    .join('\n');
}

function inline(text: string): string {
  const spans = text.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/);
  const body = spans.map((span, index) => {
    if (index % 2 === 0) return roff(span);
    if (span.startsWith('**')) return `\\fB${roff(span.slice(2, -2))}\\fR`;
    return span.startsWith('*') ? `\\fI${roff(span.slice(1, -1))}\\fR` : `\\fB${roff(span.slice(1, -1))}\\fR`;
  });
  return wrap(body.join(''));
}

// Filled text: line breaks do not show.
function wrap(text: string): string {
  const lines = [''];
  for (const word of text.trim().split(/\s+/)) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length > 78) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.map(guard).join('\n');
}
