// SPDX-License-Identifier: Apache-2.0
// What this machine can run, one check a row.
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';

export interface Check {
  check: string;
  ok: boolean;
  detail: string;
  /** What to do, when ok is false. */
  remedy?: string;
}

/** The checks, cheapest first. */
export async function* examine(): AsyncGenerator<Check> {
  yield node(process.versions.node);
  yield { check: 'cpu', ok: true, detail: `${availableParallelism()} cores, ${cpus()[0]?.model ?? process.arch}` };
  yield { check: 'memory', ok: true, detail: `${gibibytes(freemem())} free of ${gibibytes(totalmem())}` };
}

function node(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return { check: 'node', ok, detail: version, ...(!ok && { remedy: 'install Node 20.19 or later' }) };
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
