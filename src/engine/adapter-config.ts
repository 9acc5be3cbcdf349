// SPDX-License-Identifier: Apache-2.0
// adapter_config.json of a PEFT adapter.
import { type LoraPattern, targetRegex } from './lora-shapes.ts';
import type { TrainerSettings } from './train-requests.ts';

/** Keeps saved entries. Each part of a trained connector appears once, whether it was saved as a whole or by layers. */
export function savedModules(before: unknown, trained: readonly string[], parts: readonly string[]): unknown[] | null {
  const modules = Array.isArray(before) ? before.map(String) : [];
  const isThere = (name: string) =>
    modules.includes(name) ||
    parts
      .map((part) => part.split('.'))
      .some((path) => path.includes(name) && modules.some((one) => path.includes(one.split('.').at(-1)!)));
  modules.push(...trained.filter((name) => !isThere(name)));
  return modules.length === 0 ? null : modules;
}

/**
 * Written so that PEFT matches only the language model's linears, because the vision tower has equal names. Without LoRA the config is
 * still one: PEFT wants a rank, and has a name for "no module" (its DUMMY_TARGET_MODULES).
 * `adapted`: the paths of the modules that have one, where names do not say it.
 */
export function newAdapterConfig(
  settings: TrainerSettings,
  textModule: string,
  adapted: readonly string[],
): Record<string, unknown> {
  const { loraR, loraAlpha, loraDropout, loraTargets, loraPatterns = [], rslora } = settings;
  const isRegex = targetRegex(loraTargets) !== undefined;
  const names = isRegex ? adapted.map((path) => path.slice(textModule.length)) : loraTargets;
  const part = textModule.split('.').at(-2)!;
  const regex = `.*${part}.*\\.(${names.map((name) => name.replaceAll('.', '\\.')).join('|')})`;
  const named = part === 'model' ? names : regex;
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: null,
    revision: null,
    inference_mode: true,
    r: loraR || 1,
    lora_alpha: loraR === 0 ? 1 : loraAlpha,
    lora_dropout: loraDropout,
    target_modules: loraR === 0 ? 'dummy-target-modules' : named,
    modules_to_save: null,
    bias: 'none',
    fan_in_fan_out: false,
    use_rslora: rslora,
    use_dora: false,
    init_lora_weights: true,
    rank_pattern: patternObject(loraPatterns, ({ r }) => r),
    alpha_pattern: patternObject(loraPatterns, ({ alpha }) => alpha),
    layers_to_transform: null,
    layers_pattern: null,
  };
}

function patternObject(patterns: readonly LoraPattern[], of: (pattern: LoraPattern) => number | undefined): object {
  return Object.fromEntries(
    patterns.flatMap((pattern) => (of(pattern) === undefined ? [] : [[pattern.regex, of(pattern)]])),
  );
}
