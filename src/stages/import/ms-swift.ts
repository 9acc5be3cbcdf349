// SPDX-License-Identifier: Apache-2.0
// ms-swift: messages that end with the chosen response, rejected_response, rejected_messages, rejected_images or label; also
// query, response and history, and Alpaca's columns.
//   Source: modelscope/ms-swift docs/source_en/Customization/Custom-dataset.md, dataset/preprocessor/core.py.
import { RecordError } from '../../records/error.ts';
import { joinPath } from '../../records/field.ts';
import { type DialogueForm, dialogueDraft, dialogueInfo } from './dialogue-row.ts';
import { field, type ImportFormat } from './format.ts';
import { carries } from './item-fields.ts';

const form: DialogueForm = {
  messages: ['messages', 'conversations', 'conversation'],
  question: [['query', 'instruction', 'question'], ['input']],
  response: ['response', 'output', 'answer'],
  targetField: 'response',
};

export const msSwift: ImportFormat = {
  summary: 'ms-swift messages or query and response, with rejected_response or label',
  hasVideoMarks: true,
  flags: ['turns'],
  info: (value) => dialogueInfo(value, form),
  draft(value, at, path) {
    const objects = field(value, 'objects');
    // Boxes that replace <bbox> in the text: without them the text changes.
    if (carries('content', objects) !== undefined)
      throw new RecordError(at, joinPath(path, 'objects'), 'none (grounding is not supported)', 'some');
    return dialogueDraft(value, form, at, path);
  },
};
