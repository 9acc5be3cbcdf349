// SPDX-License-Identifier: Apache-2.0
// doctor: checks whether a model can run on this machine, one check per row.

import { totalmem } from 'node:os';
import type { Family } from '../../families/family.ts';
import { weightFiles } from '../engine/checkpoint-files.ts';
import { fingerprintAdapter, fingerprintModel } from '../engine/fingerprint.ts';
import { loadPolicy, type Policy } from '../engine/policy.ts';
import type { GenerateRequest } from '../engine/requests.ts';
import { findNonFinite } from '../engine/safetensors.ts';
import { chosenPlan, type ImageOptions, readFamilyPlan } from '../model/images.ts';
import { checkFolders, imageMarks } from '../model/load.ts';
import { count } from '../records/count.ts';
import { RunError, UsageError } from '../records/error.ts';
import { SAMPLING_DEFAULTS } from '../records/sampling-settings.ts';
import { BUILT_IN_TEMPLATES } from '../text/built-in-templates.ts';
import { loadChatTemplate } from '../text/chat-template.ts';
import { type ImageTokens, promptIds } from '../text/prompt-ids.ts';
import { loadTokenizer, type ModelTokenizer } from '../text/tokenizer.ts';
import { attempt, type Check, gibibytes } from './doctor/check.ts';
import { examineForms } from './doctor/examine-forms.ts';
import { describeImages, describePicture, type ImageModel, pictureOf } from './doctor/examine-images.ts';
import { examineStep, type StepToExamine } from './doctor/examine-step.ts';

export interface ModelToExamine {
  model: string;
  adapters: string[];
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  images: ImageOptions;
  /** Read configuration and headers alone. */
  headersOnly: boolean;
  /** Images to count tokens of; the first is in the training step's prompt. */
  pictures: readonly string[];
  step: StepToExamine;
}

/** The model's checks in the order of a run. Stops at the first failure that makes later checks meaningless. */
export async function* examineModel(asked: ModelToExamine): AsyncGenerator<Check> {
  const { model, adapters, device, dtype } = asked;
  const fingerprints = await attempt('files', 'download the whole directory again', async () => {
    await checkFolders(model, adapters);
    return [await fingerprintModel(model), ...(await Promise.all(adapters.map(fingerprintAdapter)))];
  });
  if ('check' in fingerprints) {
    yield fingerprints;
    return;
  }
  yield { check: 'files', ok: true, detail: fingerprints.join(' ') };
  const tokenizer = await attempt('tokenizer', 'get tokenizer.json of the same checkpoint', () => loadTokenizer(model));
  if ('check' in tokenizer) {
    yield tokenizer;
    return;
  }
  const own = await attempt('family', 'see the message', () => readFamilyPlan(model));
  if ('check' in own) {
    yield own;
    return;
  }
  const { family } = own;
  const plan = chosenPlan(own, asked.images);
  if (plan === undefined && asked.pictures.length > 0)
    throw new UsageError(`--image: ${family.modelTypes[0]} is a text-only family`);
  const policy = await attempt('model', 'see the message', () =>
    loadPolicy({
      ...{ model, adapters, device, dtype, tokenBytes: tokenizer.tokenBytes() },
      ...(plan && { normalisation: plan.normalisation }),
    }),
  );
  if ('check' in policy) {
    yield policy;
    return;
  }
  try {
    const { info } = policy;
    yield {
      check: 'model',
      ok: true,
      detail: `${info.modelType}, ${(info.numParameters / 1e6).toFixed(1)} M parameters stored as ${info.storedDtype}, ${info.dtype} on ${info.device}, ${info.maxPositions} positions${info.notes.map((note) => `; ${note}`).join('')}`,
    };
    const image = family.vision && info.vision && { id: info.vision.imageTokenId, token: family.vision.imageToken };
    yield tokenizerFits(tokenizer, policy, image);
    yield await template(model, tokenizer, policy, family);
    const pictured = plan && { family, plan, policy, tokenizer };
    if (pictured) yield* images(pictured, asked.pictures);
    yield* await forms(asked, pictured);
    if (!asked.headersOnly) {
      yield await finite(model, adapters);
      yield await forward(policy, tokenizer);
      yield await memory(policy); // the memory plan exists only after a run
      yield await trainingStep(policy, asked, pictured);
    }
    yield { check: 'limits', ok: true, detail: limits(family) };
  } finally {
    await policy.close();
  }
}

function tokenizerFits(tokenizer: ModelTokenizer, { info }: Policy, image: ImageTokens | undefined): Check {
  const problems: string[] = [];
  if (tokenizer.size > info.vocabSize)
    problems.push(`ids up to ${tokenizer.size - 1} for a vocabulary of ${info.vocabSize}`);
  if (tokenizer.eosId === undefined) problems.push('no eos_token');
  else if (!info.eosIds.includes(tokenizer.eosId))
    problems.push(`eos_token is ${tokenizer.eosId}, config.json says ${info.eosIds}`);
  if (image && tokenizer.tokenId(image.token) !== image.id)
    problems.push(`${image.token} is ${tokenizer.tokenId(image.token) ?? 'no token'}, config.json says ${image.id}`);
  const ok = problems.length === 0;
  const bos = tokenizer.bosIds.length === 0 ? 'no BOS' : `BOS ${tokenizer.bosIds.join(' ')}`;
  const detail = ok ? `${tokenizer.size} ids, ${bos}, EOS ${tokenizer.eosId}` : problems.join('; ');
  return {
    check: 'tokenizer',
    ok,
    detail,
    ...(!ok && { remedy: 'get tokenizer.json and config.json of the same checkpoint' }),
  };
}

async function template(
  model: string,
  tokenizer: ModelTokenizer,
  { info }: Policy,
  { vision }: Family,
): Promise<Check> {
  const remedy = `choose one: --template ${BUILT_IN_TEMPLATES.join('|')}`;
  const rendered = await attempt('template', remedy, async () => {
    const own = await loadChatTemplate('auto', model, tokenizer, {
      ...(vision && { image: imageMarks(vision) }),
      eosIds: info.eosIds,
    });
    own.assistantTurn();
    const image = vision && info.vision && { id: info.vision.imageTokenId, token: vision.imageToken };
    const content = [...(image ? [{ type: 'image' as const }] : []), { type: 'text' as const, text: 'Q' }];
    return promptIds([{ role: 'user', content }], image ? 1 : 0, own, tokenizer, image);
  });
  return 'check' in rendered ? rendered : { check: 'template', ok: true, detail: JSON.stringify(rendered.text) };
}

async function* images(model: ImageModel, pictures: readonly string[]): AsyncGenerator<Check> {
  yield { check: 'images', ok: true, detail: describeImages(model) };
  for (const picture of pictures) {
    const said = await attempt('image', 'try another image', async () => [await describePicture(picture, model)]);
    yield 'check' in said ? said : { check: 'image', ok: true, detail: said[0]! };
  }
}

async function forms(
  { model, device, dtype, step, pictures }: ModelToExamine,
  image: ImageModel | undefined,
): Promise<Iterable<Check>> {
  const made = await attempt('form', 'see the message', async () => {
    const options = { model, adapters: [], device, dtype, ...(image && { normalisation: image.plan.normalisation }) };
    return examineForms(options, step, image && (await pictureOf(pictures[0], image)));
  });
  return 'check' in made ? [made] : made;
}

async function memory(policy: Policy): Promise<Check> {
  const lines = policy.memoryPlan().trim().split('\n').filter(Boolean);
  const bytes = weightBytes(policy);
  const ok = policy.info.device === 'cuda' || bytes < totalmem();
  const detail = [`weights ${gibibytes(bytes)} of ${gibibytes(totalmem())}`, ...lines].join('; ');
  return {
    check: 'weights',
    ok,
    detail,
    ...(!ok && { remedy: 'use --quantize (see the rows form), a machine with more memory, or a GPU' }),
  };
}

function weightBytes({ info: { numParameters, dtype, storedDtype } }: Policy): number {
  return numParameters * (dtype === 'f32' && storedDtype === 'f32' ? 4 : 2);
}

async function trainingStep(
  policy: Policy,
  { step, pictures }: ModelToExamine,
  model: ImageModel | undefined,
): Promise<Check> {
  const remedy = 'a smaller --lora-r, fewer pixels (--max-pixels), or a machine with more memory';
  const made = await attempt('step', remedy, async () =>
    examineStep(policy, step, model && (await pictureOf(pictures[0], model))),
  );
  return 'check' in made ? made : { check: 'step', ...made, ...(!made.ok && { remedy }) };
}

/** Limits of a family's checkpoints, and why. */
function limits({ vision }: Family): string {
  if (vision === undefined) return "text only; LoRA applies to the decoder's linear layers";
  const video = vision.videoToken === undefined ? '' : '; video is not supported, a text with its token is refused';
  return `the vision tower is frozen, LoRA applies to the decoder's linear layers, --train-projector trains the projector${video}`;
}

// Reads every byte of the weights, because no other check finds a NaN.
async function finite(model: string, adapters: readonly string[]): Promise<Check> {
  const folders: [dir: string, name: string][] = [
    [model, 'model.safetensors'],
    ...adapters.map((dir): [string, string] => [dir, 'adapter_model.safetensors']),
  ];
  const found: string[] = [];
  for (const [dir, name] of folders)
    for (const file of await weightFiles(dir, name))
      for (const { name: tensor, nan, infinite } of await findNonFinite(file))
        found.push(`${file}: ${tensor}: ${nan} NaN, ${infinite} infinite`);
  if (found.length === 0) return { check: 'finite', ok: true, detail: 'no NaN and no infinity in the weights' };
  const more = found.length > 3 ? `; and ${count(found.length - 3, 'more tensor')}` : '';
  return {
    check: 'finite',
    ok: false,
    detail: found.slice(0, 3).join('; ') + more,
    remedy: 'get these weights again, or train them again',
  };
}

// Weights that do not fit in memory would be read from disk again in each pass.
async function forward(policy: Policy, tokenizer: ModelTokenizer): Promise<Check> {
  if (policy.info.device === 'cpu' && weightBytes(policy) > totalmem() / 2)
    return { check: 'forward', ok: true, detail: 'not run: the weights take more than half of the memory' };
  const result = await attempt('forward', 'the weights are not usable: get them again', async () => {
    const promptIds = Int32Array.from([...tokenizer.bosIds, ...tokenizer.encode('Hello.')]);
    const [logps] = await policy.score({
      promptIds,
      images: [],
      branches: [Int32Array.from(tokenizer.encode(' Hello.'))],
    });
    if (!logps!.every(Number.isFinite)) throw new RunError('nonfinite', `log-probabilities ${[...logps!]}`);
    await policy.generate({ ...ONE_TOKEN, promptIds }); // makes the engine plan its sampling memory
    return logps!;
  });
  return 'check' in result
    ? result
    : {
        check: 'forward',
        ok: true,
        detail: `log-probabilities ${[...result].map((logp) => logp.toFixed(2)).join(' ')}`,
      };
}

const ONE_TOKEN: Omit<GenerateRequest, 'promptIds'> = {
  ...SAMPLING_DEFAULTS,
  maxNewTokens: 1,
  images: [],
  stopStrings: [],
  eosTokenIds: new Int32Array(),
  seed: 0,
  rngKey: 0n,
  firstSample: 0,
};
