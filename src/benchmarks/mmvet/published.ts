// SPDX-License-Identifier: Apache-2.0
// Li et al. 2024, 2402.10884.
// SeVa: Zhu et al. 2024, 2404.10501.
import { type DrawnFigure, publishedRows } from '../published.ts';

export const published = [
  ...publishedRows('SeVa README', ['all'], {
    'SeVa-7B, step 500': [35.5],
  }),
  ...publishedRows('SeVa table 1', ['all', 'rec', 'ocr', 'know', 'gen', 'spat', 'math'], {
    'LLaVA-1.5-7B': [30.5, 35.7, 21.9, 17.4, 19.7, 24.7, 7.7],
    'SeVa-7B, flip': [33.7, 37.2, 26.4, 21.8, 23.9, 29.1, 7.7],
    'SeVa-7B, rrcrop': [33.8, 39.2, 23.2, 21.9, 24.5, 27.7, 7.7],
    'SeVa-7B, autoaugment': [35, 38.5, 26.8, 22.9, 24.4, 29.3, 15],
    'SeVa-7B, diffusion (weak)': [37.2, 40.2, 29.9, 21.8, 23.9, 34.3, 11.2],
    'SeVa-7B, moco': [37, 40.9, 29, 21.3, 25.6, 32.5, 15],
    'SeVa-7B, diffusion (strong)': [34.6, 38.8, 26.5, 20.5, 23.4, 32, 11.5],
  }),
  ...publishedRows('SeVa table 2', ['all'], {
    'BLIP-2 (FLAN-T5)': [22.4],
    'InstructBLIP (Vicuna-7B)': [26.2],
    'InstructBLIP (Vicuna-13B)': [25.6],
    'LLaVA (Vicuna-7B)': [26.7],
    'LLaVA-1.5-7B': [30.5],
    'SeVa-7B': [37.2],
    'LLaVA-1.5-13B': [35.4],
    'SeVa-13B': [41],
  }),
  ...publishedRows('SeVa table 3', ['all'], {
    'SFT 2 %, 15k': [31.9],
    'SFT 10 %, 66k': [32.8],
    'SFT 20 %, 132k': [33.9],
    'SFT text and ocr, 102k': [32.5],
    'SeVa-7B, 8k': [34.8],
    'SeVa-7B, 16k': [37.2],
  }),
  ...publishedRows('SeVa table 4', ['all'], {
    'SeVa-7B, TextVQA 2k': [31.8],
    'SeVa-7B, TextVQA 4k': [32.1],
    'SeVa-7B, TextVQA 8k': [34.8],
    'SeVa-7B, TextVQA 16k': [35.8],
    'SeVa-7B, OCR-VQA 2k': [32.1],
    'SeVa-7B, OCR-VQA 4k': [32.3],
    'SeVa-7B, OCR-VQA 8k': [32.8],
    'SeVa-7B, OCR-VQA 16k': [34.5],
    'SeVa-7B, GQA 2k': [31.4],
    'SeVa-7B, GQA 4k': [31.8],
    'SeVa-7B, GQA 8k': [34.1],
    'SeVa-7B, GQA 16k': [35.9],
    'SeVa-7B, COCO 2k': [31.7],
    'SeVa-7B, COCO 4k': [31.2],
    'SeVa-7B, COCO 8k': [34.2],
    'SeVa-7B, COCO 16k': [34.4],
    'SeVa-7B, Visual Genome 2k': [31.4],
    'SeVa-7B, Visual Genome 4k': [32],
    'SeVa-7B, Visual Genome 8k': [33.4],
    'SeVa-7B, Visual Genome 16k': [34.1],
  }),
  ...publishedRows('SeVa table 6', ['all'], {
    'LLaVA-1.5-7B': [30.7],
    'SeVa-7B, LoRA 64': [32.8],
    'SeVa-7B, LoRA 128': [33.9],
    'SeVa-7B, LoRA 256': [34],
    'SeVa-7B, LoRA 512': [35.5],
    'SeVa-7B, LoRA 1024': [37.2],
    'SeVa-7B, LoRA 2048': [33.5],
  }),
  ...publishedRows('Li et al. main table', ['all'], {
    'LLaVA-1.5-13B': [36.3],
    'LLaVA-RLHF-13B': [37.2],
    'Standard SFT': [36.5],
    SteerLM: [35.2],
    'Rejection sampling': [38],
    DPO: [41.2],
  }),
  ...publishedRows('Li et al. transfer', ['all'], {
    'LLaVA-1.5-7B': [30.5],
    'DPO (7B)': [39.8],
  }),
];

export const drawn: readonly DrawnFigure[] = [
  { source: 'SeVa figure 2', shows: 'MM-Vet with augmented pictures, no training' },
  { source: 'SeVa figure 7 (b)', shows: 'MM-Vet by noise step', by: 'step' },
  { source: 'SeVa figure 5', shows: 'wins and losses of SeVa against LLaVA-1.5, and lengths' },
];
