// SPDX-License-Identifier: Apache-2.0
// LLaMA-Factory's two forms, plain, ranking and KTO: sharegpt (conversations or messages) and alpaca (instruction, input,
// output, history). Columns by their usual names or by those that dataset_info.json gives them.
//   Source: hiyouga/LLaMA-Factory data/README.md, src/llamafactory/data/converter.py.
import { type DialogueForm, dialogueDraft, dialogueInfo } from './dialogue-row.ts';
import type { ImportFormat } from './format.ts';

const alpacaColumns = {
  question: [
    ['instruction', 'prompt'],
    ['input', 'query'],
  ],
  response: ['output', 'response'],
};
const factoryForm: DialogueForm = {
  messages: ['conversations', 'messages'],
  ...alpacaColumns,
  targetField: 'response',
};
const alpacaForm: DialogueForm = { messages: [], ...alpacaColumns, targetField: 'response' };

export const llamaFactory: ImportFormat = {
  summary: 'LLaMA-Factory rows, sharegpt or alpaca, with or without preferences',
  hasVideoMarks: true,
  flags: ['turns'],
  info: (value) => dialogueInfo(value, factoryForm),
  draft: (value, at, path) => dialogueDraft(value, factoryForm, at, path),
};

export const alpaca: ImportFormat = {
  summary: 'Alpaca rows: instruction, input, and output or chosen and rejected',
  hasVideoMarks: true,
  flags: ['turns'],
  info: (value) => dialogueInfo(value, alpacaForm),
  draft: (value, at, path) => dialogueDraft(value, alpacaForm, at, path),
};
