// SPDX-License-Identifier: Apache-2.0
// The headings of flags in --help and the manual. A flag in no group is specific to its command and comes first.

const GROUPS = {
  Model:
    'model adapter endpoint key-env device dtype quantize quantize-cache template template-arg image-mode max-pixels min-pixels',
  Sampling: 'stop views label logps steer',
  Loss: 'method loss loss-on allow-ref-mismatch',
  LoRA: 'lora-r lora-alpha rslora lora-dropout lora-targets lora-pattern init-adapter train-projector train-language-model',
  Schedule:
    'lr projector-lr lr-schedule warmup-ratio warmup-steps weight-decay max-grad-norm batch-size epochs max-steps no-shuffle save-every keep-checkpoints save-gradients',
  Evaluation: 'eval eval-every early-stop keep-best sample-every sample-prompts',
  Requests: 'base-url concurrency rpm tpm timeout attempts max-wait max-cost prices batch batch-dir cache no-cache',
  'Input and output': 'output resume limit seed on-error summary log progress quiet',
  Memory: 'batch-tokens max-length on-long recompute memory-limit threads verbose',
  Cluster: 'shard requeue ranks local-rank zero',
} as const;

export type FlagGroup = keyof typeof GROUPS;

interface GroupedFlag {
  name: string;
  helpGroup?: string | undefined;
}

/** In listing order. */
export const FLAG_GROUPS = Object.keys(GROUPS) as FlagGroup[];

const groupOf = new Map(
  FLAG_GROUPS.flatMap((group) => GROUPS[group].split(' ').map((name): [string, FlagGroup] => [name, group])),
);

/** Groups of one command: other commands use these flag names differently. */
const ONLY: Partial<Record<FlagGroup, string>> = { Sampling: 'sample', Loss: 'train' };

/** The group of a command's flag; the flag's definition may set it. Undefined for flags specific to the command. */
export function flagGroup(command: string, { name, helpGroup }: GroupedFlag): FlagGroup | undefined {
  const group = (helpGroup as FlagGroup | undefined) ?? groupOf.get(name);
  return group !== undefined && (ONLY[group] ?? command) === command ? group : undefined;
}

/** A command's flags by group, the ungrouped first, in the order of the groups. */
export function groupFlags<Flag extends GroupedFlag>(
  command: string,
  flags: readonly Flag[],
): { group: FlagGroup | undefined; flags: Flag[] }[] {
  return [undefined, ...FLAG_GROUPS]
    .map((group) => ({ group, flags: flags.filter((flag) => flagGroup(command, flag) === group) }))
    .filter((part) => part.flags.length > 0);
}

/** The verbs by pipeline stage, for `vpref --help`. */
export const STAGES: readonly { stage: string; verbs: readonly string[] }[] = [
  { stage: 'Prompts and images', verbs: ['import', 'augment', 'mix'] },
  { stage: 'Responses', verbs: ['sample', 'score'] },
  { stage: 'Preferences', verbs: ['annotate', 'pair'] },
  { stage: 'Training', verbs: ['precompute-ref', 'train', 'export'] },
  { stage: 'Results', verbs: ['eval', 'report'] },
  { stage: 'This machine', verbs: ['doctor'] },
];
