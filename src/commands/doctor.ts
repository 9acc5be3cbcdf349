// SPDX-License-Identifier: Apache-2.0
import { Flags } from '@oclif/core';
import { exitCode } from '../cli/exit.ts';
import { integerFlag, modelFlags, outputFlags, sizeFlag } from '../cli/flags.ts';
import type { ImageFlagValues } from '../cli/model-flags.ts';
import { RecordCommand } from '../cli/record-command.ts';
import { UsageError } from '../records/error.ts';

export default class Doctor extends RecordCommand {
  static override summary = 'check what this machine can run';
  static override description =
    'Prints one row per check: name, ok, detail, and what to do if ok is false. A missing part of the machine leaves the exit code at 0; a --model that cannot run here makes it 1.';
  static override usage = 'doctor [--model DIR [--image FILE]] [-o FILE]';
  static override examples = [
    '<%= config.bin %> doctor',
    '<%= config.bin %> doctor --model llava-1.5-7b-hf',
    '<%= config.bin %> doctor --model Qwen2.5-VL-3B-Instruct --max-pixels 262144 --image photo.jpg',
  ];
  static override inapplicable = {
    requeue: 'it takes seconds; rerun it',
    summary: 'its rows are the summary',
    resume: 'it reads no records',
    shard: 'it reads no records',
    limit: 'it reads no records',
    'on-error': 'it reads no records',
    seed: 'nothing is random',
    threads: 'it reports the number of cores',
  };
  static override flags = {
    ...outputFlags,
    model: Flags.string({
      helpValue: 'DIR',
      summary: 'check this model too: files, tensors, tokenizer, template and memory',
    }),
    adapter: modelFlags.adapter,
    device: modelFlags.device,
    dtype: modelFlags.dtype,
    image: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'FILE',
      summary: 'print the number of tokens of this image; may be repeated',
    }),
    'image-mode': modelFlags['image-mode'],
    'max-pixels': modelFlags['max-pixels'],
    'min-pixels': modelFlags['min-pixels'],
    'prompt-tokens': integerFlag({
      min: 1,
      helpValue: 'P',
      summary:
        'prompt tokens per record in the memory estimate for training, image tokens included; default: 64 and those of the first --image',
    }),
    'response-tokens': integerFlag({
      min: 1,
      default: 60,
      helpValue: 'A',
      summary: 'tokens per response in that estimate',
    }),
    'lora-r': integerFlag({
      min: 1,
      max: 8192,
      default: 128,
      helpValue: 'R',
      summary: 'rank of the adapter in that estimate',
    }),
    'memory-limit': sizeFlag({
      helpValue: 'SIZE',
      summary: 'CPU: memory to fit into, such as 24G; default: what the machine or its control group has free',
    }),
    'headers-only': Flags.boolean({
      summary: 'read configuration and shard headers of the model, and leave out the checks that read its weights',
    }),
  };

  async run(): Promise<void> {
    await this.runTable(Doctor, ({ flags, given }) => {
      for (const name of MODEL_FLAGS)
        if (given.has(name) && flags.model === undefined)
          throw new UsageError(`--${name}: expected --model with it, got none`);
      return report(flags);
    });
  }
}

const MODEL_FLAGS = [
  'adapter',
  'device',
  'dtype',
  'image',
  'image-mode',
  'max-pixels',
  'min-pixels',
  'prompt-tokens',
  'response-tokens',
  'lora-r',
  'memory-limit',
  'headers-only',
];

interface DoctorFlags extends ImageFlagValues {
  image?: string[] | undefined;
  model?: string | undefined;
  adapter?: string[] | undefined;
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  'prompt-tokens'?: number | undefined;
  'response-tokens': number;
  'lora-r': number;
  'memory-limit'?: number | undefined;
  'headers-only'?: boolean;
}

async function* report(flags: DoctorFlags): AsyncGenerator<object> {
  const { model, adapter, device, dtype, image } = flags;
  const { examine } = await import('../stages/doctor/examine-machine.ts');
  const { userCache } = await import('../stages/annotate/open.ts');
  yield* examine(userCache(process.env));
  if (model === undefined) return;
  const { examineModel } = await import('../stages/doctor.ts');
  const { imageOptions } = await import('../cli/model-flags.ts');
  const images = imageOptions(flags, (_, value) => value !== 'auto');
  const { defaultSettings } = await import('../cli/train-plan.ts');
  const { 'prompt-tokens': promptTokens, 'response-tokens': responseTokens } = flags;
  const { 'memory-limit': memoryLimit, 'headers-only': headersOnly = false } = flags;
  const step = { settings: defaultSettings(flags['lora-r']), promptTokens, responseTokens, memoryLimit };
  const asked = { model, adapters: adapter ?? [], device, dtype, images, pictures: image ?? [], step, headersOnly };
  const forms: boolean[] = [];
  for await (const check of examineModel(asked)) {
    // One form that fits is enough.
    if (check.check === 'form') forms.push(check.ok);
    else if (!check.ok) process.exitCode = exitCode.failed;
    yield check;
  }
  if (forms.length > 0 && !forms.includes(true)) process.exitCode = exitCode.failed;
}
