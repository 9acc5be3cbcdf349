// SPDX-License-Identifier: Apache-2.0
// eval drift: compares a server's log-probabilities with ours. No paper defines this benchmark.
import { count } from '../../records/count.ts';
import { UsageError } from '../../records/error.ts';
import { type EvalInput, type Evaluation, finite, groupBy, type ScoreRow } from '../scoring/score-row.ts';
import { clusteredInterval, meanOf } from '../scoring/statistics.ts';
import { AS_IS, type Compared, readColumns } from './columns.ts';
import { pooled, rmsOf, type Verdict, verdictOf } from './verdict.ts';

/** One row for all responses of a server, and one per other reading of the prompt. */
export function scoreDrift({ answers: files, options }: EvalInput): Evaluation {
  const { answers, without, failed } = readColumns(files, options);
  if (answers.length === 0)
    throw new UsageError(
      `drift: expected responses with endpoint_per_token_logps (sample --endpoint --logps, then score --drift), got ${without} without and ${count(failed, 'failed record')}`,
    );
  const numFloored = answers.reduce((sum, one) => sum + one.numFloored, 0);
  const models = [...groupBy(answers, ({ model }) => model)];
  const found = models.map(([model, own]) => ({ model, own, verdict: verdictOf(own) }));
  return {
    rows: found.flatMap(({ model, own, verdict }) => rowsOf(model, own, verdict, failed)),
    items: answers
      .filter(({ hasOtherTokens }) => !hasOtherTokens)
      .map((answer) => ({
        ...{ model: answer.model, split: '', id: answer.id, cluster: answer.cluster },
        value: rmsOf([answer], AS_IS),
      })),
    notes: [
      ...found.map((one) => sentence(one.model, one.own, one.verdict)),
      ...(numFloored > 0
        ? [`${count(numFloored, 'token is', 'tokens are')} skipped: the server gives minus infinity for them (-9999)`]
        : []),
      ...(without > 0
        ? [`${count(without, 'response has', 'responses have')} no endpoint_per_token_logps: not compared`]
        : []),
    ],
    failed,
  };
}

function rowsOf(model: string, answers: readonly Compared[], found: Verdict, failed: number): ScoreRow[] {
  const comparable = answers.filter(({ hasOtherTokens }) => !hasOtherTokens);
  const named = model === '' ? {} : { model };
  const names = [...new Set(comparable.flatMap(({ differences }) => [...differences.keys()]))];
  const shown = found.shown === undefined ? {} : { shown: Object.fromEntries(found.shown) };
  const readings = names.filter((name) => name !== AS_IS);
  return [
    ...readings.map((name) => ({
      ...{ benchmark: 'drift', split: name, ...named },
      ...figures(
        comparable.filter(({ differences }) => differences.has(name)),
        name,
      ),
    })),
    {
      ...{ benchmark: 'drift', split: 'all', ...named },
      ...figures(comparable, AS_IS),
      ...clusteredInterval(
        comparable.map((answer) => {
          const differences = answer.differences.get(AS_IS)!;
          return {
            cluster: answer.cluster,
            sums: [differences.reduce((sum, one) => sum + one * one, 0), differences.length],
          };
        }),
        ([squares, count]) => Math.sqrt(squares! / count!),
        [0, Number.POSITIVE_INFINITY],
      ),
      verdict: found.verdict,
      verdict_score: found.rms,
      ...shown,
      other_tokens: answers.length - comparable.length,
      failed,
    },
  ];
}

/** n counts responses; score is the RMS of server minus ours, nats per token. */
function figures(answers: readonly Compared[], name: string) {
  const differences = pooled(answers, name);
  const largest = differences.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  return {
    n: answers.length,
    score: finite(rmsOf(answers, name)),
    tokens: differences.length,
    mean: finite(meanOf(differences)),
    max: differences.length === 0 ? null : largest,
  };
}

const MEANINGS: Record<string, string> = {
  agrees: 'the server reads the records as vpref does',
  precision: 'within the difference of another precision; score --drift finds which',
  differs: 'another template, image, tokenization or model; score --drift finds which',
  tokenisation: 'the server splits the responses into other tokens: another tokenizer',
  'no-image': 'the server does not see the image',
  'doubled-image': 'the image tokens appear twice',
  'image-last': 'the image comes after the text',
  'image-line-break': 'line breaks beside the image are doubled or missing',
  'first-image-only': 'the server sees only the first image',
  'last-image-only': 'the server sees only the last image',
  'doubled-bos': 'the prompt begins with BOS twice',
  'no-bos': 'the prompt has no BOS',
  'no-system': 'the system text is left out',
  'no-generation-prompt': 'the start of the answer is missing from the prompt',
  'no-adapter': 'the server runs the model without the adapter',
  mixed: 'the responses have different causes',
  'other-model': 'no cause that was tried explains it: perhaps another checkpoint, adapter, quantisation or image size',
};

function sentence(model: string, answers: readonly Compared[], { verdict, rms, shown }: Verdict): string {
  const who = model === '' ? 'drift' : `drift of ${model}`;
  const [kind, name] = verdict.split(':');
  const meaning =
    MEANINGS[verdict] ??
    {
      dtype: `the server computes in ${name}`,
      template: `the server uses the template ${name}`,
      'image-mode': `the server resizes images as ${name}`,
    }[kind!]!;
  const comparable = answers.filter(({ hasOtherTokens }) => !hasOtherTokens);
  const nats = (value: number) => Number(value.toPrecision(3));
  const own = comparable.length === 0 ? undefined : rmsOf(comparable, AS_IS);
  const figure = own === undefined ? '' : `; ${nats(own)} nats per token from vpref's`;
  const rest = rms === null || rms === own ? '' : `, ${nats(rms)} with that change`;
  const counts = shown === undefined ? '' : ` (${[...shown].map(([reading, n]) => `${reading} ${n}`).join(', ')})`;
  // Some servers return log-probabilities after temperature.
  const warm = answers.some(({ temperature }) => temperature !== undefined && temperature !== 0 && temperature !== 1);
  const hint =
    verdict === 'other-model' && warm ? '; or its log-probabilities include the temperature: sample at 0 or 1' : '';
  return `${who}: ${verdict}: ${meaning}${counts}${figure}${rest}${hint}`;
}
