// SPDX-License-Identifier: Apache-2.0
// reward:URL: a server of a scalar reward model. Its API and model are detected once.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CHAT_IMAGES, type ChatMessage, fieldsOf, parseJson } from '../../../http/chat.ts';
import { type HttpClient, openHttpClient, TransportError } from '../../../http/client.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { modelInfo } from '../../../http/model-info.ts';
import { RunError, UsageError } from '../../../records/error.ts';
import { splitLogin, withoutLogins } from '../../../records/server-url.ts';
import type { Turn } from '../../../text/chat-template.ts';
import type { ImageMarks } from '../../../text/content-kind.ts';
import { type Judge, type JudgeRequest, turnParts } from '../judge.ts';
import { httpJudge, trimSlash } from './http-judge.ts';
import type { JudgeOptions, OwnProvider } from './provider.ts';
import { checkRendered, type RewardApiName, readReward, rewardApiNames, rewardApis } from './reward-apis.ts';

export const reward: OwnProvider = { operand: 'URL', hasServer: true, guide: 'reward', open: openReward };

interface RewardServer {
  /** The user's text without a login. */
  url: string;
  headers: Record<string, string>;
  client: HttpClient;
}

async function openReward(operand: string, options: JudgeOptions): Promise<Judge> {
  const split = splitLogin(operand);
  if (split === undefined)
    throw new UsageError(
      `--judge: expected reward:http://... or https://..., got ${JSON.stringify(withoutLogins(operand))}`,
    );
  const url = trimSlash(split.url);
  const client = await openHttpClient({ timeoutMs: options.timeoutMs, connections: options.concurrency });
  const server = { url, client, headers: { ...keyHeader(options), ...split.login } as Record<string, string> };
  try {
    return await rewardJudge(server, options);
  } catch (cause) {
    await client.close();
    throw cause;
  }
}

function keyHeader({ keyVariable, environment }: JudgeOptions): Record<string, string> {
  if (keyVariable === undefined) return {};
  const key = environment[keyVariable]?.trim();
  if (!key) throw new UsageError(`no key: set the environment variable ${keyVariable}`);
  return { authorization: `Bearer ${key}` };
}

async function rewardJudge(server: RewardServer, options: JudgeOptions): Promise<Judge> {
  const { url, headers, client } = server;
  const { name, model, tokenizer } = await servedModel(server, options);
  const api = rewardApis[name];
  const base = api.needsTemplate ? rootOf(url) : url;
  const template = api.needsTemplate ? await servedTemplate(options.rewardTemplate ?? tokenizer) : undefined;
  const judge = httpJudge(
    'reward',
    {
      ...{ model: url, baseUrl: base, url: base + api.path, headers, reasoningTokens: 0 },
      imageLimits: CHAT_IMAGES,
      imageTokens: () => 0,
      info: modelInfo(''),
      body: (request, images) => {
        const render = template && ((turns: Turn[]) => renderChecked(template, turns));
        return api.body({ model, messages: dialogue(request, images), render });
      },
      read: (reply) => readReward(api, reply),
    },
    client,
    options.warn,
  );
  const rendered = template && { template: template.digest };
  return {
    ...judge,
    identity: { provider: 'reward', api: name, model, base_url: base, ...rendered },
    scoresDialogues: true,
  };
}

function dialogue(request: JudgeRequest, images: ImagePart[]): ChatMessage[] {
  const system: ChatMessage[] = request.system === undefined ? [] : [{ role: 'system', content: request.system }];
  return [...system, ...request.turns.map(({ role }, index) => ({ role, content: turnParts(request, index, images) }))];
}

// --- what is served ---------------------------------------------------------------------------------------------------------------

interface Served {
  name: RewardApiName;
  model: string;
  /** SGLang: path of the server's tokenizer. */
  tokenizer?: string | undefined;
}

/** Native endpoints are beside /v1, not below it. */
function rootOf(url: string): string {
  return url.replace(/\/v\d+$/, '');
}

async function servedModel(server: RewardServer, { rewardApi }: JudgeOptions): Promise<Served> {
  const root = rootOf(server.url);
  const models = await getJson(server, `${root}/v1/models`);
  const entries = fieldsOf(models).data;
  const first = fieldsOf(Array.isArray(entries) ? entries[0] : undefined);
  const owner = String(first.owned_by ?? '');
  const wantsInfo = rewardApi === 'sglang' || (rewardApi === undefined && owner !== 'vllm');
  const info = wantsInfo ? fieldsOf(await getJson(server, `${root}/get_model_info`)) : {};
  const isSglang = typeof info.model_path === 'string';
  if (isSglang && info.is_generation === true)
    throw new UsageError(
      `--judge reward:${root}: expected a server of a reward model, got SGLang serving ${info.model_path} for generation (a chat model judges as openai:MODEL --base-url ${root}/v1)`,
    );
  const name = rewardApi ?? (isSglang ? 'sglang' : owner === 'vllm' ? 'vllm-pooling' : undefined);
  if (name === undefined)
    throw new UsageError(
      `--reward-api: expected one of ${rewardApiNames.join(', ')}: cannot detect the API of ${root} (GET /v1/models: owned_by ${JSON.stringify(owner)}; GET /get_model_info: no model_path)`,
    );
  const model = typeof first.id === 'string' ? first.id : info.model_path;
  if (typeof model !== 'string') throw new RunError('judge', `${root}/v1/models: expected the id of a model, got none`);
  return { name, model, tokenizer: typeof info.tokenizer_path === 'string' ? info.tokenizer_path : undefined };
}

/** Undefined unless the server answers with JSON. */
async function getJson({ client, headers }: RewardServer, url: string): Promise<unknown> {
  try {
    const reply = await client.send({ method: 'GET', url, headers });
    if (reply.status === 401 || reply.status === 403)
      throw new RunError('judge', `${url}: status ${reply.status}: a key is needed (--key-env NAME)`);
    return reply.status === 200 ? parseJson(reply.body) : undefined;
  } catch (cause) {
    if (cause instanceof TransportError) throw new RunError('judge', `${url}: ${cause.message}`, { cause });
    throw cause;
  }
}

// --- SGLang's text ------------------------------------------------------------------------------------------------------------------

interface ServedTemplate {
  render(turns: readonly Turn[]): string;
  isVision: boolean;
  /** Hash of a rendered probe. */
  digest: string;
}

/** The chat template of the served model, because its /classify takes rendered text. */
async function servedTemplate(folder: string | undefined): Promise<ServedTemplate> {
  if (folder === undefined || !existsSync(join(folder, 'tokenizer.json')))
    throw new UsageError(
      `--reward-template: expected the directory of the served model's tokenizer and chat template (SGLang's /classify takes text that is rendered already), got ${folder ?? 'nothing'}`,
    );
  const { loadTokenizer } = await import('../../../text/tokenizer.ts');
  const { loadChatTemplate } = await import('../../../text/chat-template.ts');
  const image = await imageMarksOf(folder);
  const template = await loadChatTemplate('auto', folder, await loadTokenizer(folder), image ? { image } : {});
  const render = (turns: readonly Turn[]) => template.renderWhole!(turns);
  return { render, isVision: image !== undefined, digest: render(PROBE) };
}

/** Undefined if the folder's config belongs to no supported image family; then records with images are refused. */
async function imageMarksOf(folder: string): Promise<ImageMarks | undefined> {
  const { readFamilyPlan } = await import('../../../model/images.ts');
  const { imageMarks } = await import('../../../model/load.ts');
  try {
    const { vision } = (await readFamilyPlan(folder)).family;
    return vision && imageMarks(vision);
  } catch (cause) {
    if (cause instanceof RunError) return undefined;
    throw cause;
  }
}

const PROBE: readonly Turn[] = [
  { role: 'user', content: [{ type: 'text', text: 'Q' }] },
  { role: 'assistant', content: [{ type: 'text', text: 'A' }] },
];

function renderChecked({ render, isVision }: ServedTemplate, turns: Turn[]): string {
  const text = render(turns);
  checkRendered(text, turns.flatMap(({ content }) => content).filter(({ type }) => type === 'image').length, isVision);
  return text;
}
