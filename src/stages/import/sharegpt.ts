// SPDX-License-Identifier: Apache-2.0
// ShareGPT conversations: turns under `conversations` or `messages`, a `system` text, `images`, and the preference
// columns of LLaMA-Factory or ms-swift.
import { type DialogueForm, dialogueDraft, dialogueInfo } from './dialogue-row.ts';
import type { ImportFormat } from './format.ts';

const form: DialogueForm = {
  messages: ['conversations', 'messages'],
  question: [],
  response: [],
  targetField: 'reference',
};

export const sharegpt: ImportFormat = {
  summary: 'ShareGPT conversations, with or without preferences',
  hasVideoMarks: true,
  flags: ['turns'],
  info: (value) => dialogueInfo(value, form),
  draft: (value, at, path) => dialogueDraft(value, form, at, path),
};
