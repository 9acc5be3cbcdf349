// SPDX-License-Identifier: Apache-2.0
// Object HalBench: questions about 300 COCO images.
import { cocoQuestions } from '../coco-questions.ts';

export const objhalQuestions = cocoQuestions(
  'objhal',
  'rows {image_id, image, question}: obj_halbench_300_with_image.jsonl',
);
