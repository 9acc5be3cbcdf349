// SPDX-License-Identifier: Apache-2.0
import type { VprefRecord } from '../../records/record.ts';

export function isPair({ chosen, rejected }: VprefRecord): boolean {
  return chosen !== undefined && rejected !== undefined;
}
