// SPDX-License-Identifier: Apache-2.0
// Images of COCO to describe.
import { cocoQuestions } from '../coco-questions.ts';

export const chairQuestions = cocoQuestions('chair', 'rows {image or image_id, text}, such as chair-500.jsonl');
