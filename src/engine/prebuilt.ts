// SPDX-License-Identifier: Apache-2.0
// The prebuilt engine: a package of its own (scripts/pack-engine.sh makes it), found when it is installed beside this one.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The member "vpref" in package.json of a prebuilt engine. */
interface EngineManifest {
  /** The key of the sources that it was built from. */
  sources: string;
  /** The oldest glibc that it runs on. */
  glibc: string;
}

export interface PrebuiltEngine {
  name: string;
  version: string;
  /** The addon; undefined where it does not fit. */
  path?: string;
  /** Why it does not fit. */
  misfit?: string;
}

export interface PrebuiltSearch {
  /** The folder of this package. */
  root: string;
  /** The addon's file name. */
  addon: string;
  /** The key of this package's sources; costs a look at each of them. */
  sources(): string;
}

/** `vpref-engine-linux-x64` on this kind of machine. */
export const ENGINE_PACKAGE = `vpref-engine-${process.platform}-${process.arch}`;

/** Kinds of machines that scripts/pack-engine.sh packs for. */
export const PREBUILT_KINDS = ['linux-x64', 'linux-arm64'];

/** The prebuilt engine that is installed, as Node resolves packages; undefined where there is none. */
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

// node_modules here and above, as require() looks. Not require.resolve: it reads every package.json on its way.
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

/** As Node reports it; without the network's part, which may ask a name server. */
function glibcVersion(): string | undefined {
  // Newer than the types of the oldest Node that is supported.
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
