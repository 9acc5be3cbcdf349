// SPDX-License-Identifier: Apache-2.0
// One self-contained HTML file: data, style and scripts are embedded, nothing is fetched.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RunError } from '../../records/error.ts';
import type { ReportData } from './data.ts';

/** Scripts in execution order. */
const SCRIPTS = [
  'dom.js',
  'chart.js',
  'runs.js',
  'curves.js',
  'scores.js',
  'diff.js',
  'browse.js',
  'pairs.js',
  'answers.js',
  'tables.js',
  'main.js',
];

/** The page for `data`; `pictures` are data: URIs by image index, null if there is none. */
export async function reportPage(data: ReportData, pictures: readonly (string | null)[]): Promise<string> {
  const assets = assetsDir();
  const [css, ...scripts] = await Promise.all(
    ['style.css', ...SCRIPTS].map((name) => readFile(join(assets, name), 'utf8')),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(data.title)}</title>
<style>${css}</style>
</head>
<body>
<main id="report"><noscript>This report needs JavaScript.</noscript></main>
<script type="application/json" id="data">${escapeJson({ ...data, images: undefined, pictures })}</script>
<script>${scripts.join('\n')}</script>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

// "</script>" inside a text would end the data element.
function escapeJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[<\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** assets/report/ of the package, both for the bundle and for the sources. */
function assetsDir(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); folder !== dirname(folder); folder = dirname(folder))
    if (existsSync(join(folder, 'assets', 'report', 'main.js'))) return join(folder, 'assets', 'report');
  throw new RunError('install', 'the folder assets/ of the program is missing');
}
