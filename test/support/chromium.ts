// SPDX-License-Identifier: Apache-2.0
// A page in a real browser, where there is one.
import { execFileSync, spawnSync } from 'node:child_process';

export const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

/** What node's test runner is to say of a test that needs the browser. */
export const withoutChromium = chromium ? false : 'no chromium here';

/** The page's DOM after its script ran. */
export function domOf(page: string, ...flags: string[]): string {
  const common = ['--headless=new', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=5000'];
  return execFileSync(chromium!, [...common, ...flags, '--dump-dom', `file://${page}`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 1 << 28,
  });
}
