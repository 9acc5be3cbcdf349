#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// The pictures of a report in README.md, light and dark: report-picture.mjs REPORT.html OUT_DIR (the demo's report; needs Chromium).
// Shows the runs, the first charts, one card of the responses and one of the pairs.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';

const [report, out] = process.argv.slice(2);
const WIDTH = 1340;
const HEIGHT = 1600;
const SHORTER = `
  .note, .chart:nth-child(n+7), .chart details, #scores, #runs details, #stages, #files, #judges, .card:nth-child(n+2), .controls { display: none }
  h2 { margin-top: 22px } main { padding-bottom: 16px }
`;
const folder = mkdtempSync(join(tmpdir(), 'vpref-picture-'));
const page = join(folder, 'report.html');
writeFileSync(page, readFileSync(report, 'utf8').replace('</head>', `<style>${SHORTER}</style></head>`));
for (const [name, scheme] of Object.entries({ light: 1, dark: 0 })) {
  const shot = join(folder, `${name}.png`);
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--virtual-time-budget=8000'];
  const size = [`--window-size=${WIDTH},${HEIGHT}`, `--blink-settings=preferredColorScheme=${scheme}`];
  execFileSync('chromium', [...flags, ...size, `--screenshot=${shot}`, `file://${page}`], { stdio: 'ignore' });
  // Crops the empty space below the last pair; a palette suffices for a page.
  const { info } = await sharp(shot).trim({ threshold: 2 }).toBuffer({ resolveWithObject: true });
  const height = Math.min(HEIGHT, info.height + Math.abs(info.trimOffsetTop) + 24);
  await sharp(shot)
    .extract({ left: 0, top: 0, width: WIDTH, height })
    .png({ palette: true, colours: 128, effort: 10 })
    .toFile(join(out, `report-${name}.png`));
}
rmSync(folder, { recursive: true });
