// SPDX-License-Identifier: Apache-2.0
// The flags' definitions in oclif's manifest, and writing or checking of generated files.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

export interface Flag {
  name: string;
  type: 'boolean' | 'option';
  char?: string;
  summary?: string;
  description?: string;
  helpValue?: string | string[];
  options?: string[];
  default?: unknown;
  multiple?: boolean;
  required?: boolean;
  hidden?: boolean;
  allowNo?: boolean;
}

export interface Arg {
  name: string;
  description?: string;
  options?: string[];
  required?: boolean;
}

export interface CommandEntry {
  id: string;
  summary?: string;
  description?: string;
  usage?: string | string[];
  examples?: (string | { description: string; command: string })[];
  flags: Record<string, Flag>;
  args: Record<string, Arg>;
  hidden?: boolean;
  /** Common flags that it refuses, with the reason. */
  inapplicable?: Record<string, string>;
}

/** The commands in alphabetical order, from the manifest that the build wrote. */
export function readCommands(): CommandEntry[] {
  const manifest = JSON.parse(readFileSync(join(root, 'oclif.manifest.json'), 'utf8'));
  return (Object.values(manifest.commands) as CommandEntry[])
    .filter((command) => !command.hidden)
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Flags shown in help, sorted by name. */
export function listFlags(command: CommandEntry): Flag[] {
  return Object.values(command.flags)
    .filter((flag) => !flag.hidden)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Examples as command lines with what they do. */
export function listExamples(command: CommandEntry): { description: string; command: string }[] {
  return (command.examples ?? []).map((example) => {
    const parts = typeof example === 'string' ? { description: '', command: example } : example;
    const fill = (text: string) =>
      text.replaceAll('<%= config.bin %>', 'vpref').replaceAll('<%= command.id %>', command.id).replace(/^\$ /, '');
    return { description: fill(parts.description ?? ''), command: fill(parts.command) };
  });
}

const isCheck = process.argv.includes('--check');

/** Writes a generated file. With --check, reports a difference and fails the script instead. */
export function emit(path: string, content: string): void {
  const target = join(root, path);
  if (existsSync(target) && readFileSync(target, 'utf8') === content) return;
  if (isCheck) {
    console.error(`${path}: differs from what the sources give now: run \`make docs\` and commit it`);
    process.exitCode = 1;
    return;
  }
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, content);
  console.log(path);
}
