// SPDX-License-Identifier: Apache-2.0
// What makes the bundled oclif start faster: an esbuild plugin, and the head of the files that hold CommonJS.
import { readFileSync } from 'node:fs';

/** Packages for --help and oclif's own errors: bundled, evaluated on first use. */
const BUNDLED = ['clean-stack', 'ejs', 'indent-string', 'string-width', 'widest-line', 'wrap-ansi'];
/** For plugins, spinners, arguments from stdin, oclif's own timing, a start without manifest: loaded on first use from where oclif is installed. */
const INSTALLED = [
  ...['ansi-escapes', 'cli-spinners', 'lilconfig', 'minimatch', 'semver', 'tinyglobby'],
  ...['node:perf_hooks', 'node:readline'],
];

const names = [...BUNDLED, ...INSTALLED];
const requires = new RegExp(
  `^( *const )(\\w+)( = (?:__import\\w+\\()?)(require\\(['"](${names.join('|')})['"]\\))(\\)?);$`,
  'gm',
);
// Enough where only properties are read.
const onUse =
  '\nfunction onUse(load) { let loaded; return new Proxy({}, { get: (_, key) => (loaded ??= load())[key] }); }\n';

/** The order of the verbs: the collator of localeCompare takes 6 ms to make, and verbs are ASCII. */
const collated = 'a.id.localeCompare(b.id)';
const ordered = '(a.id < b.id ? -1 : 1)';

export const oclifStart = {
  name: 'oclif-start',
  setup: ({ onLoad, onEnd }) => {
    const missed = new Set([...names, collated]);
    onLoad({ filter: /\/@oclif\/core\/lib\/.*\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const deferred = text.replace(requires, (definition, head, variable, open, required, name, close = '') => {
        if (new RegExp(`\\b${variable}\\b(?!\\.)`).test(text.replace(definition, '')))
          throw new Error(`${path}: expected only properties of ${variable} to be read`);
        missed.delete(name);
        const load = BUNDLED.includes(name) ? required : `requireFromOclif('${name}')`;
        return `${head}${variable} = onUse(() => ${open.slice(3)}${load}${close});`;
      });
      const contents = deferred.replaceAll(collated, () => {
        missed.delete(collated);
        return ordered;
      });
      return { contents: deferred === text ? contents : contents + onUse };
    });
    onEnd(() => {
      if (missed.size > 0) throw new Error(`oclif: expected the use of ${[...missed].join(', ')}, got none`);
    });
  },
};

const commonJsName = /\b(?:require|requireFromOclif|__filename|__dirname)\b/;
const commonJsNames = [
  "import{createRequire as vprefRequire}from'node:module'",
  "import{fileURLToPath as vprefPath}from'node:url'",
  'const require=vprefRequire(import.meta.url),__filename=vprefPath(import.meta.url),__dirname=vprefPath(new URL(".",import.meta.url))',
  "const requireFromOclif=(name)=>vprefRequire(require.resolve('@oclif/core'))(name);",
].join(';');

/** A bundled file with the names of CommonJS, if its code may use them: to make them takes 0.15 ms per file. */
export function withCommonJsNames(text) {
  return commonJsName.test(text) ? commonJsNames + text : text;
}
