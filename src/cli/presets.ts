// SPDX-License-Identifier: Apache-2.0
// The papers' settings as flags, each with its source. `faithful`: the published code's value, if it differs from the paper
// or is a bug; used only with --faithful.

export type PresetVerb = 'sample' | 'pair' | 'precompute-ref' | 'train';

/** A flag's value under a preset, and its source. */
export interface PresetSetting {
  value: string | number | boolean | readonly string[];
  source: string;
  /** Applies only with --faithful. */
  faithful?: boolean;
  /** The value with --faithful. */
  published?: { value: string | number | boolean; source: string };
}

export type Preset = Record<PresetVerb, Record<string, PresetSetting>>;

const SEVA_SCRIPT = 'SeVa run/*.sh';
const SEVA_GENERATE = 'SeVa data/step2/generate_with_aug.py';
const SEVA_TRAIN = 'SeVa seva/train_dpo_ours.py';
const LI_DPO = 'Li et al. scripts/v1_5/finetune_dpo.sh';
const LI_SFT = 'Li et al. scripts/v1_5/finetune_steer.sh';
const LI_SAMPLE = 'Li et al. scripts/v1_5/eval/llava_sampling.sh';
const LI_PAIR = 'Li et al. pair notebook (poster: sum of three metrics, margin 2)';

const llavaInput = (source: string): Record<string, PresetSetting> => ({
  template: { value: 'vicuna_v1', source },
  'image-mode': { value: 'pad', source },
});

function seva(pair: Record<string, PresetSetting> = {}): Preset {
  return {
    sample: {
      ...llavaInput('LLaVA-1.5 training template and padding'),
      template: {
        value: 'vicuna_v1',
        source: 'LLaVA-1.5 training template',
        published: { value: 'llava_v1', source: `${SEVA_GENERATE}: another system text than in training` },
      },
      views: { value: 'all', source: 'Zhu et al. 2024 sec. 3: clean and distorted image' },
      temperature: { value: 0, source: SEVA_GENERATE },
      'max-new-tokens': { value: 512, source: SEVA_GENERATE },
    },
    pair: { rule: { value: 'seva', source: 'Zhu et al. 2024 sec. 3; SeVa data/step3' }, ...pair },
    'precompute-ref': llavaInput('LLaVA-1.5 training template and padding'),
    train: {
      ...llavaInput(SEVA_SCRIPT),
      method: { value: 'dpo', source: 'Zhu et al. 2024 eq. 4' },
      loss: { value: 'sigmoid', source: 'Zhu et al. 2024 eq. 4' },
      beta: { value: 0.1, source: SEVA_SCRIPT },
      'lora-r': { value: 1024, source: SEVA_SCRIPT },
      'lora-alpha': { value: 2048, source: SEVA_SCRIPT },
      lr: { value: 2e-6, source: SEVA_SCRIPT },
      'lr-schedule': { value: 'cosine', source: SEVA_SCRIPT },
      'warmup-ratio': { value: 0.03, source: `${SEVA_TRAIN}: the default ratio holds since warmup_steps is 0` },
      'weight-decay': { value: 0, source: SEVA_SCRIPT },
      'max-grad-norm': { value: 1, source: 'transformers default' },
      epochs: { value: 1, source: SEVA_SCRIPT },
      'batch-size': { value: 128, source: `${SEVA_SCRIPT}: 16 x 8 GPUs` },
      seed: { value: 42, source: 'transformers default' },
      'train-projector': {
        value: true,
        source: `${SEVA_TRAIN}: the projector is thawed again after LoRA is set up; --mm_projector_lr 0 is ignored`,
        faithful: true,
      },
    },
  };
}

const liSample: Record<string, PresetSetting> = {
  ...llavaInput(LI_SAMPLE),
  n: { value: 4, source: `${LI_SAMPLE}: four runs` },
  temperature: { value: 1.2, source: LI_SAMPLE },
  'max-new-tokens': { value: 1024, source: LI_SAMPLE },
};

function liSft(pair: Record<string, PresetSetting>): Preset {
  return {
    sample: liSample,
    pair,
    'precompute-ref': llavaInput(LI_SFT),
    train: {
      ...llavaInput(LI_SFT),
      method: { value: 'sft', source: LI_SFT },
      ...liLora(LI_SFT),
      lr: { value: 4e-4, source: LI_SFT },
      'batch-size': { value: 128, source: `${LI_SFT}: 16 x 2 x 4 GPUs` },
    },
  };
}

function liLora(source: string): Record<string, PresetSetting> {
  return {
    'lora-r': { value: 128, source },
    'lora-alpha': { value: 256, source },
    'lora-dropout': { value: 0.05, source: 'Li et al. llava/train/train.py: the default, which no script changes' },
    'lr-schedule': { value: 'cosine', source },
    'warmup-ratio': { value: 0.03, source },
    'weight-decay': { value: 0, source },
    'max-grad-norm': { value: 1, source: 'transformers default' },
    epochs: { value: 3, source },
    seed: { value: 42, source: 'transformers default' },
    'train-projector': { value: true, source: `${source}: mm_projector_lr gives the projector its own group` },
    'projector-lr': { value: 2e-5, source },
  };
}

const LLAVA_FULL = 'LLaVA scripts/v1_5/finetune.sh';
const LLAVA_LORA = 'LLaVA scripts/v1_5/finetune_lora.sh';

/** Continued SFT as in Zhu et al. 2024, table 3: LLaVA-1.5's settings, on whole dialogues. */
function llavaSft(source: string, trained: Record<string, PresetSetting>): Preset {
  return {
    sample: llavaInput('LLaVA-1.5 training template and padding'),
    pair: {
      rule: { value: 'sft', source: 'Zhu et al. 2024 sec. 4.3: continued SFT' },
      from: { value: 'reference', source: 'Zhu et al. 2024 sec. 4.3: the answers of LLaVA665k' },
    },
    'precompute-ref': llavaInput('LLaVA-1.5 training template and padding'),
    train: {
      ...llavaInput(source),
      method: { value: 'sft', source },
      'loss-on': { value: 'all', source: 'LLaVA llava/train/train.py: every answer of a dialogue is in the loss' },
      ...trained,
      'lr-schedule': { value: 'cosine', source },
      'warmup-ratio': { value: 0.03, source },
      'weight-decay': { value: 0, source },
      'max-grad-norm': { value: 1, source: 'transformers default' },
      epochs: { value: 1, source },
      'batch-size': { value: 128, source: `${source}: 16 x 8 GPUs` },
      seed: { value: 42, source: 'transformers default' },
      'train-projector': { value: true, source },
    },
  };
}

export const presets: Record<string, Preset> = {
  'seva-7b': seva({
    'max-pairs': {
      value: ['ocr_vqa=4300', 'textvqa=6500'],
      source: 'SeVa data/step3/make_pair_*.py: step 800 cut to about the number of pairs of step 500',
      faithful: true,
    },
  }),
  'seva-13b': seva(),
  'li2024-dpo': {
    sample: liSample,
    pair: { rule: { value: 'score', source: LI_PAIR }, margin: { value: 2, source: LI_PAIR } },
    'precompute-ref': llavaInput(LI_DPO),
    train: {
      ...llavaInput(LI_DPO),
      method: { value: 'dpo', source: LI_DPO },
      loss: { value: 'sigmoid', source: LI_DPO },
      beta: { value: 0.1, source: LI_DPO },
      ...liLora(LI_DPO),
      lr: { value: 5e-5, source: LI_DPO },
      'batch-size': { value: 128, source: `${LI_DPO}: 8 x 4 x 4 GPUs` },
    },
  },
  'li2024-sft': liSft({
    rule: { value: 'sft', source: 'Li et al. poster, Method' },
    from: { value: 'judge', source: 'Li et al. poster, Method: the answers Gemini gave itself' },
  }),
  'li2024-steerlm': liSft({ rule: { value: 'steerlm', source: 'Li et al. sec. SteerLM' } }),
  'li2024-rs': liSft({
    rule: { value: 'sft', source: 'Li et al. sec. rejection sampling: one best answer per prompt is learned' },
    from: { value: 'best', source: 'Li et al. sec. rejection sampling' },
    'min-score': { value: 12, source: `${LI_SFT}: its data file holds answers of perfect score, three metrics of 4` },
  }),
  'llava-sft': llavaSft(LLAVA_FULL, {
    'train-language-model': { value: true, source: LLAVA_FULL },
    lr: { value: 2e-5, source: LLAVA_FULL },
  }),
  'llava-sft-lora': llavaSft(LLAVA_LORA, {
    'lora-r': { value: 128, source: LLAVA_LORA },
    'lora-alpha': { value: 256, source: LLAVA_LORA },
    'lora-dropout': { value: 0.05, source: 'LLaVA llava/train/train.py: the default, which the script keeps' },
    lr: { value: 2e-4, source: LLAVA_LORA },
    'projector-lr': { value: 2e-5, source: LLAVA_LORA },
  }),
};

export const PRESET_NAMES = Object.keys(presets);

/** Whether --faithful changes the preset's settings for the verb. */
export function hasQuirk(name: string | undefined, verb: PresetVerb): boolean {
  if (name === undefined) return false;
  return Object.values(presets[name]![verb]).some(({ faithful, published }) => faithful === true || published);
}

/** A preset's settings for a verb, by flag name. Never throws, because the name is one of PRESET_NAMES. */
export function presetSettings(name: string, verb: PresetVerb, faithful: boolean): Record<string, PresetSetting> {
  const settings = Object.entries(presets[name]![verb]).filter(([, setting]) => faithful || setting.faithful !== true);
  return Object.fromEntries(
    settings.map(([flag, setting]) => [
      flag,
      faithful && setting.published ? { ...setting, ...setting.published } : setting,
    ]),
  );
}

/** For --help: one line per preset; presets with equal settings share a line. */
export function presetHelp(verb: PresetVerb): string {
  const names = new Map<string, string[]>();
  for (const name of PRESET_NAMES) {
    const settings = Object.entries(presetSettings(name, verb, false));
    const text = settings.map(([flag, { value }]) => `${flag} ${value}`).join(', ');
    names.set(text, [...(names.get(text) ?? []), name]);
  }
  return [...names].map(([text, same]) => `  ${same.join(', ')}: ${text}`).join('\n');
}
