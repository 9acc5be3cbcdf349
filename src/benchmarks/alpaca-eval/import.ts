// SPDX-License-Identifier: Apache-2.0
// AlpacaEval: alpaca_eval.json, the instructions with the baseline's outputs as references.
import { benchmarkFormat, listItems, placeOf, questionsOf, textMember } from '../questions.ts';

export const alpacaEvalQuestions = benchmarkFormat(
  'alpaca-eval',
  "alpaca_eval.json, or a baseline's model_outputs.json",
  async function* (files) {
    let index = 0;
    yield* questionsOf(listItems(files), (value, item) => {
      const { output, generator, dataset } = value;
      const number = index++;
      return {
        id: String(number),
        reads: ['instruction', 'output', 'generator', 'dataset'],
        draft: {
          prompt: textMember(value, 'instruction', placeOf(item)),
          ...(typeof output === 'string' && { reference: output }),
          meta: {
            index: number,
            ...(dataset !== undefined && { dataset }),
            ...(generator !== undefined && { baseline: generator }),
          },
        },
      };
    });
  },
);
