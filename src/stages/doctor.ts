// SPDX-License-Identifier: Apache-2.0
// What this machine can run, one check a row; with a model directory, whether that model can run here.
import { accessSync, constants, existsSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { dirname } from 'node:path';
import type { Family } from '../../families/family.ts';
import { type Binding, loadBinding } from '../engine/binding.ts';
import { addonRemedy } from '../engine/build-addon.ts';
import { weightFiles } from '../engine/checkpoint-files.ts';
import { addonOrigin, buildCommand, isPrebuilt } from '../engine/find-addon.ts';
import { fingerprintAdapter, fingerprintModel } from '../engine/fingerprint.ts';
import { loadPolicy, type Policy } from '../engine/policy.ts';
import type { GenerateRequest } from '../engine/requests.ts';
import { findNonFinite } from '../engine/safetensors.ts';
import { chosenPlan, type ImageOptions, readFamilyPlan } from '../model/images.ts';
import { checkFolders, imageMarks } from '../model/load.ts';
import { RunError } from '../records/error.ts';
import { BUILT_IN_TEMPLATES } from '../text/built-in-templates.ts';
import { loadChatTemplate } from '../text/chat-template.ts';
import { type ImageTokens, promptIds } from '../text/prompt-ids.ts';
import { loadTokenizer, type ModelTokenizer } from '../text/tokenizer.ts';
import { cudaRemedy, describeCudaParts, findCudaParts } from './doctor/cuda-parts.ts';
import { describeImages, describePicture, type ImageModel, pictureOf } from './doctor/examine-images.ts';
import { examineStep, type StepToExamine } from './doctor/examine-step.ts';

export interface Check {
  check: string;
  ok: boolean;
  detail: string;
  /** What to do, when ok is false. */
  remedy?: string;
}

export interface ModelToExamine {
  model: string;
  adapters: string[];
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  images: ImageOptions;
  /** Pictures whose tokens are wanted; the first is that of the training step's prompt. */
  pictures: readonly string[];
  step: StepToExamine;
}

/** The machine's checks, cheapest first. `cacheFolder`: where annotate keeps its replies. */
export async function* examine(cacheFolder: string): AsyncGenerator<Check> {
  yield node(process.versions.node);
  yield { check: 'cpu', ok: true, detail: `${availableParallelism()} cores, ${cpus()[0]?.model ?? process.arch}` };
  yield { check: 'memory', ok: true, detail: `${gibibytes(freemem())} free of ${gibibytes(totalmem())}` };
  yield cache(cacheFolder);
  const addon = await attempt('addon', addonRemedy(), () => loadBinding('auto'));
  if ('check' in addon) {
    yield addon;
    return;
  }
  const { binding, path } = addon;
  const info = binding.buildInfo();
  const { matrixLibrary, cpuFeatures } = info;
  yield {
    check: 'addon',
    ok: true,
    detail: `${path} (${addonOrigin(path)}): ${info.backends.join(', ')}; matrix products by ${matrixLibrary}; CPU has ${cpuFeatures.join(' ') || 'no SIMD that is used'}`,
  };
  yield probe('cpu', binding);
  yield info.backends.includes('cuda') ? probe('cuda', binding) : cudaNotBuilt();
  yield mpi(binding, path);
}

/** The model's checks in the order in which a run would meet them; ends at the first that makes the rest pointless. */
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
    if (plan) yield* images({ family, plan, policy, tokenizer }, asked.pictures);
    yield await finite(model, adapters);
    yield await forward(policy, tokenizer);
    yield await memory(policy); // what is planned is known once something has run
    const pictured = plan && { family, plan, policy, tokenizer };
    yield await trainingStep(policy, asked, pictured);
    yield { check: 'limits', ok: true, detail: limits(family) };
  } finally {
    await policy.close();
  }
}

// --- machine --------------------------------------------------------------------------------------------------------------------

function node(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return { check: 'node', ok, detail: version, ...(!ok && { remedy: 'install Node 20.19 or later' }) };
}

function cache(folder: string): Check {
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK);
    return { check: 'cache', ok: true, detail: folder };
  } catch {
    return {
      check: 'cache',
      ok: false,
      detail: `${existing} cannot be written`,
      remedy: 'set XDG_CACHE_HOME, or annotate --cache DIR',
    };
  }
}

// f32 sums of 96 products of numbers up to 1, in any order.
const PROBE_TOLERANCE = 1e-4;

function probe(device: 'cpu' | 'cuda', binding: Binding): Check {
  const check = device === 'cpu' ? 'engine' : device;
  try {
    const { op, maxError, seconds } = binding.probeDevice(device);
    const ok = maxError <= PROBE_TOLERANCE;
    const detail = `${op}: error ${maxError.toExponential(1)} in ${(seconds * 1000).toFixed(1)} ms`;
    return {
      check,
      ok,
      detail,
      ...(!ok && { remedy: 'report this: the engine computes wrong results on this machine' }),
    };
  } catch (cause) {
    const parts = findCudaParts(process.env);
    const detail = (cause as Error).message;
    if (device === 'cpu')
      return { check, ok: false, detail, remedy: 'build the engine again: scripts/build-native.sh' };
    return { check, ok: false, detail: `${detail}; ${describeCudaParts(parts)}`, remedy: cudaRemedy(parts, true) };
  }
}

// Without it training has one rank.
function mpi(binding: Binding, addon: string): Check {
  try {
    return { check: 'mpi', ok: true, detail: `${binding.mpiLibrary()}: training may have several ranks` };
  } catch (cause) {
    const [detail = '', remedy = 'build again: scripts/build-native.sh'] = (cause as Error).message.split('; ');
    // MPI's own libraries are those of the machine.
    return notBuilt('mpi', detail, isPrebuilt(addon) ? `build the engine here: ${buildCommand(addon)}` : remedy);
  }
}

function cudaNotBuilt(): Check {
  const parts = findCudaParts(process.env);
  return notBuilt('cuda', `built for the CPU only; ${describeCudaParts(parts)}`, cudaRemedy(parts, false));
}

function notBuilt(check: string, detail: string, remedy: string): Check {
  return { check, ok: false, detail, remedy };
}

// --- model ----------------------------------------------------------------------------------------------------------------------

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

async function memory(policy: Policy): Promise<Check> {
  const lines = policy.memoryPlan().trim().split('\n').filter(Boolean);
  const bytes = weightBytes(policy);
  const ok = policy.info.device === 'cuda' || bytes < totalmem();
  const detail = [`weights ${gibibytes(bytes)} of ${gibibytes(totalmem())}`, ...lines].join('; ');
  return { check: 'weights', ok, detail, ...(!ok && { remedy: 'use a machine with more memory, or a GPU' }) };
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

/** What is not done with a family's checkpoints, and why. */
function limits({ vision }: Family): string {
  if (vision === undefined) return "text only; LoRA applies to the decoder's linear layers";
  const video = vision.videoToken === undefined ? '' : '; video is not supported, a text with its token is refused';
  return `the vision tower is frozen, LoRA applies to the decoder's linear layers, --train-projector trains the projector${video}`;
}

// Reads every byte of the weights: what makes one value of a run NaN is seen nowhere else.
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
  const more = found.length > 3 ? `; and ${found.length - 3} more tensors` : '';
  return {
    check: 'finite',
    ok: false,
    detail: found.slice(0, 3).join('; ') + more,
    remedy: 'get these weights again, or train them again',
  };
}

// Of weights that fill the memory each pass would read the disk again.
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
    await policy.generate({ ...ONE_TOKEN, promptIds }); // so that the memory for sampling is planned
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
  images: [],
  numSamples: 1,
  temperature: 0,
  topP: 1,
  topK: 0,
  maxNewTokens: 1,
  numBeams: 1,
  repetitionMaxPeriod: 0,
  stopStrings: [],
  eosTokenIds: new Int32Array(),
  seed: 0,
  rngKey: 0n,
  firstSample: 0,
};

async function attempt<T extends object>(
  check: string,
  remedy: string,
  work: () => T | Promise<T>,
): Promise<T | Check> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof RunError)) throw cause;
    return { check, ok: false, detail: cause.message, remedy };
  }
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(bytes < 2 ** 30 ? 2 : 1)} GiB`;
}
