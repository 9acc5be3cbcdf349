// SPDX-License-Identifier: Apache-2.0
// The licences of the packages in a bundle, from esbuild's metafile.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Folders of the packages that esbuild bundled, sorted by name. */
export function bundledPackages({ outputs }) {
  const paths = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  );
  const folders = paths.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []);
  return [...new Set(folders)].sort();
}

/** One text with name, version, licence and licence files of each. Throws for a package without licence. */
export function licenseText(folders) {
  const parts = folders.map((folder) => {
    const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
    const texts = files.map((file) => readFileSync(join(folder, file), 'utf8').trim());
    if (texts.length === 0 && license === undefined) throw new Error(`${folder}: expected a licence, got none`);
    const by = typeof author === 'string' ? author : author?.name;
    const stated = `Licence: ${typeof license === 'string' ? license : (license?.type ?? 'see below')}${by ? `\nAuthor: ${by}` : ''}`;
    return [`${name} ${version}`, stated, ...texts].join('\n\n');
  });
  const head = 'Programs in this folder contain parts of the following packages.';
  return `${[head, ...parts].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}
