// SPDX-License-Identifier: Apache-2.0
// The memory plan before the first step: sizes of all rows, the largest micro-batch, the recompute level that fits.
import type { ImageInput, ImageLayout } from '../../engine/requests.ts';
import type { MemoryPlan, RowSize, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';

/** Maximum rows to plan for: until then every row has been batched with many others. */
const MAX_PLANNED_ROWS = 200_000;

export function rowSize({ segments, images }: TrainRow, layoutOf: (image: ImageInput) => ImageLayout): RowSize {
  const layouts = images.map(layoutOf);
  const bytes = images.flatMap(({ crops }) => crops.map(({ height, width }) => height * width * 3));
  const targets = segments
    .filter(({ branch }) => branch >= 0)
    .map(({ ids, scored }) => scored?.reduce((sum, value) => sum + value, 0) ?? ids.length);
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
  return {
    rows: sum(segments.map(({ ids }) => ids.length)),
    targets: sum(targets),
    imageRows: sum(layouts.map(({ numRows }) => numRows)),
    features: sum(layouts.map(({ numFeatures }) => numFeatures)),
    pixelBytes: sum(bytes),
  };
}

/** Plans for all steps of the run; `rowsOfStep` gives a step's row numbers. */
export function planMemory(
  sizes: readonly RowSize[],
  rowsOfStep: (step: number) => Uint32Array,
  totalSteps: number,
  trainer: TrainerEngine,
): Promise<MemoryPlan> {
  const steps: RowSize[][] = [];
  for (let step = 0, numRows = 0; step < totalSteps && numRows < MAX_PLANNED_ROWS; step++) {
    const rows = Array.from(rowsOfStep(step), (number) => sizes[number]!);
    steps.push(rows);
    numRows += rows.length;
  }
  return trainer.plan(steps);
}
