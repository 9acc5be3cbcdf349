// SPDX-License-Identifier: Apache-2.0
import type { Benchmark } from './benchmark.ts';
import * as registry from './index.ts';

/** Every benchmark by its name in `import` and `eval`. */
export const benchmarks: ReadonlyMap<string, Benchmark> = new Map(
  Object.values(registry)
    .map((benchmark): [string, Benchmark] => [benchmark.name, benchmark])
    .sort(([a], [b]) => (a < b ? -1 : 1)),
);
