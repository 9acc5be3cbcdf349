// SPDX-License-Identifier: Apache-2.0
// The linears with an adapter, their rank and scale: from names, a regular expression of the full module path, and patterns of its end, as in peft's
// target_modules, rank_pattern and alpha_pattern.
import { EngineError } from './engine-error.ts';

/** "REGEX=r:alpha" of the command line. */
export interface LoraPattern {
  regex: string;
  r: number;
  /** Absent: the common alpha. */
  alpha?: number;
}

export interface LoraSettings {
  loraR: number;
  loraAlpha: number;
  /** Names of linears, or one "/REGEX/". */
  loraTargets: string[];
  loraPatterns: LoraPattern[];
}

export interface LoraShapes {
  /** One value per linear, 0 for no adapter. */
  loraRanks: number[];
  loraAlphas: number[];
}

/** The regular expression, if the targets are "/REGEX/". */
export function targetRegex(targets: readonly string[]): string | undefined {
  const [only] = targets;
  return targets.length === 1 && /^\/.+\/$/.test(only!) ? only!.slice(1, -1) : undefined;
}

/** `paths`: module paths of the decoder's linears. Throws EngineError{"config"} for a target that matches none. */
export function loraShapes(paths: readonly string[], settings: LoraSettings): LoraShapes {
  const { loraR, loraAlpha, loraTargets, loraPatterns } = settings;
  const regex = targetRegex(loraTargets);
  const whole = regex === undefined ? undefined : compile('--lora-targets', `^(?:${regex})$`, regex);
  const isTarget = (path: string) => whole?.test(path) ?? loraTargets.includes(path.split('.').at(-1)!);
  if (!paths.some(isTarget))
    throw new EngineError(
      'config',
      `--lora-targets: expected a match for linear layers of the language model, such as ${paths[0]}, got ${loraTargets.join(',')}`,
    );
  const patterns = loraPatterns.map((pattern) => {
    // As in peft: the end of the path, after a dot.
    const end = compile('--lora-pattern', `^(?:.*\\.)?(?:${pattern.regex})$`, pattern.regex);
    if (!paths.some((path) => isTarget(path) && end.test(path)))
      throw new EngineError(
        'config',
        `--lora-pattern: expected the end of a target's module path, such as ${paths.find(isTarget)}, got ${pattern.regex}`,
      );
    return { ...pattern, end };
  });
  const of = (path: string) => {
    if (!isTarget(path)) return { r: 0, alpha: 0 };
    const { r = loraR, alpha = loraAlpha } = patterns.find(({ end }) => end.test(path)) ?? {};
    return { r, alpha };
  };
  return { loraRanks: paths.map((path) => of(path).r), loraAlphas: paths.map((path) => of(path).alpha) };
}

function compile(flag: string, pattern: string, given: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch {
    throw new EngineError('config', `${flag}: expected a regular expression, got ${given}`);
  }
}
