// SPDX-License-Identifier: Apache-2.0
// The prebuilt engine: a separate package (made by scripts/pack-engine.sh), found if it is installed beside this one.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The member "vpref" in package.json of a prebuilt engine. */
interface EngineManifest {
  /** Key of its sources. */
  sources: string;
  /** Minimum version of glibc. */
  glibc: string;
}

export interface PrebuiltEngine {
  name: string;
  version: string;
  /** Path of the addon; undefined if it does not fit. */
  path?: string;
  /** The reason if it does not fit. */
  misfit?: string;
}

export interface PrebuiltSearch {
  /** The folder of this package. */
  root: string;
  /** The addon's file name. */
  addon: string;
  /** Key of this package's sources; reads the size of each. */
  sources(): string;
}

/** Package name for this machine, such as `vpref-engine-linux-x64`. */
export const ENGINE_PACKAGE = `vpref-engine-${process.platform}-${process.arch}`;

/** Platforms of scripts/pack-engine.sh. */
export const PREBUILT_KINDS = ['linux-x64', 'linux-arm64'];

/** The installed prebuilt engine, resolved as by Node; undefined if there is none. */
export function findPrebuilt({ root, addon, sources }: PrebuiltSearch): PrebuiltEngine | undefined {
  const folder = packageFolder(root);
  if (folder === undefined) return undefined;
  const file = join(folder, 'package.json');
  const { name, version, vpref } = JSON.parse(readFileSync(file, 'utf8')) as {
    name: string;
    version: string;
    vpref?: Partial<EngineManifest>;
  };
  const misfit =
    whyMisfit(vpref ?? {}, sources) ??
    (existsSync(join(folder, addon)) ? undefined : `${addon} is missing in ${folder}`);
  return misfit === undefined ? { name, version, path: join(folder, addon) } : { name, version, misfit };
}

// node_modules here and above, as for require(). Not require.resolve, which reads every package.json on its way.
function packageFolder(root: string): string | undefined {
  for (let folder = root; ; folder = dirname(folder)) {
    const found = join(folder, 'node_modules', ENGINE_PACKAGE);
    if (existsSync(join(found, 'package.json'))) return found;
    if (dirname(folder) === folder) return undefined;
  }
}

function whyMisfit({ sources, glibc = '' }: Partial<EngineManifest>, ownSources: () => string): string | undefined {
  const own = glibcVersion();
  if (own === undefined) return `it needs glibc ${glibc}, this system has another C library`;
  if (isOlder(own, glibc)) return `it needs glibc ${glibc}, this system has ${own}`;
  const wanted = ownSources();
  return sources === wanted
    ? undefined
    : `it was built from other sources (${sources}) than these commands (${wanted})`;
}

/** From Node's report, without its network part, which may query a name server. */
function glibcVersion(): string | undefined {
  // Missing in the types of the oldest supported Node.
  const report = process.report as typeof process.report & { excludeNetwork: boolean };
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  report.excludeNetwork = before;
  return header.glibcVersionRuntime;
}

/** Whether version a is older than b: "2.9" is older than "2.34". */
export function isOlder(a: string, b: string): boolean {
  return a.localeCompare(b, 'en', { numeric: true }) < 0;
}
