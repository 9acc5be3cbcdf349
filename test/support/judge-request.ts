// SPDX-License-Identifier: Apache-2.0
import type { JudgeParameters, JudgeRequest } from '../../src/stages/annotate/judge.ts';

/** A question with a system text, one turn and a schema. */
export function judgeRequest(parameters: Partial<JudgeParameters> = {}): JudgeRequest {
  return {
    key: 'k1',
    system: 'You judge.',
    turns: [{ role: 'user', text: 'Grade it.' }],
    images: [],
    schema: {
      type: 'object',
      properties: { comment: { type: 'string' }, grade: { type: 'integer', minimum: 0, maximum: 4 } },
    },
    parameters: { maxTokens: 100, ...parameters },
    about: {
      record: { id: 'r1', prompt: 'What?' },
      guide: 'helpsteer',
      run: 1,
      answers: [{ label: 'A', text: 'one', response: 0 }],
    },
  };
}

export const testImage = { mediaType: 'image/png', base64: 'QUJD', sha256: 'x', width: 2, height: 2 };
