// SPDX-License-Identifier: Apache-2.0
// What `npm pack` packs, laid out as an install does: it runs where no compiler is, and builds its engine on first need.
// Covers src/engine/build-addon.ts src/engine/find-addon.ts src/engine/prebuilt.ts src/cli/engine.ts scripts/build-native.sh
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { loadBinding } from '../src/engine/binding.ts';
import { builtShare } from '../src/engine/build-addon.ts';
import { sourceKey } from '../src/engine/find-addon.ts';
import { ENGINE_PACKAGE, isOlder } from '../src/engine/prebuilt.ts';
import { withoutEngine } from './support/native.ts';
import { type CliResult, collect, ensureBuilt, root, temporaryFolder } from './support/run-cli.ts';

const packed: string[] = [];

before(() => {
  ensureBuilt();
  const folder = temporaryFolder('npm');
  // Nothing is asked of a network; the scripts would build dist/ anew under the feet of other tests.
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '--offline'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, npm_config_cache: folder, npm_config_update_notifier: 'false' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  packed.push(...JSON.parse(listed)[0].files.map(({ path }: { path: string }) => path));
});

/** The package as an install puts it; the packages it needs are this checkout's. */
function install(): string {
  const folder = join(temporaryFolder('package'), 'lib/node_modules/vpref');
  for (const path of packed) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    copyFileSync(join(root, path), join(folder, path));
  }
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
  return folder;
}

/** A folder for PATH with these programs of the system, and no others. */
function programs(...names: string[]): string {
  const folder = temporaryFolder('path');
  symlinkSync(process.execPath, join(folder, 'node'));
  for (const name of names) {
    const found = execFileSync('bash', ['-c', `command -v ${name} || true`], { encoding: 'utf8' }).trim();
    if (found !== '') symlinkSync(found, join(folder, name));
  }
  return folder;
}

const BASICS =
  'basename bash cat cksum cmp cp cut dirname env flock getconf grep head mkdir mv nproc sed sleep tail tr uname'.split(
    ' ',
  );

interface Setting {
  path: string;
  home: string;
  cwd?: string;
}

function run(folder: string, { path, home, cwd = home }: Setting, args: string[], input = ''): Promise<CliResult> {
  const env = { PATH: path, HOME: home, NO_COLOR: '1' };
  const child = spawn(process.execPath, [join(folder, 'bin/run.js'), ...args], { cwd, env });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return collect(child);
}

const prompt = '{"id":"a","prompt":"What is it?"}\n';
const model = join(root, 'fixtures/tiny-gqa');

describe('the package', () => {
  test('has every file that a run, a build or a reader of manuals opens, and no others', () => {
    const { man } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const pages = readdirSync(join(root, 'man')).filter((name) => /\.[1-8]$/.test(name));
    assert.deepEqual(
      man,
      pages.sort().map((name) => `./man/${name}`),
    );
    const below = (folder: string) =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length));
    const wanted = [
      ...pages.map((name) => `man/${name}`),
      ...['guides', 'assets', 'completions', 'schema', 'native', 'families', 'dist', 'scripts/tables'].flatMap(below),
      ...below('src/benchmarks').filter((path) => path.endsWith('.guide.md')),
      ...['bin/run.js', 'oclif.manifest.json', 'scripts/build-native.sh', 'package.json', 'README.md', 'LICENSE'],
    ];
    assert.deepEqual([...packed].sort(), wanted.sort());
  });

  test('runs doctor and the data stages where no compiler and no home is', async () => {
    const folder = install();
    const home = temporaryFolder('home');
    const setting = { path: programs(...BASICS), home };
    const doctor = await run(folder, setting, ['doctor']);
    assert.equal(doctor.code, 0, doctor.stderr);
    const addon = doctor.stdout
      .split('\n')
      .map((line) => JSON.parse(line || '{}'))
      .find(({ check }) => check === 'addon');
    assert.equal(addon.ok, false);
    assert.match(addon.remedy, /^missing: cmake, a C\+\+ compiler, make or ninja; .*apt-get install cmake g\+\+ make/);
    mkdirSync(join(folder, 'build/native'), { recursive: true });
    writeFileSync(join(folder, 'build/native/vpref_cpu.node'), 'torn');
    const torn = await run(folder, setting, ['doctor']);
    assert.match(torn.stdout, /cannot be loaded: .*"remedy":"\S*scripts\/build-native\.sh --no-tests"/);
    rmSync(join(folder, 'build'), { recursive: true });
    copyFileSync(join(root, 'fixtures/images/exif-6.jpg'), join(home, 'a.jpg'));
    const item = {
      id: 1,
      image: 'a.jpg',
      conversations: [
        { from: 'human', value: '<image>\nq' },
        { from: 'gpt', value: 'a' },
      ],
    };
    const steps: [string[], string?][] = [
      [['import', 'llava', '-o', 'q'], JSON.stringify([item])],
      [['augment', '--op', 'moco', '--image-dir', 'views', 'q', '-o', 'v']],
      [['annotate', '--judge', 'exec:cat', '--dry-run', 'v']],
      [['pair', '--rule', 'sft', 'v', '-o', 'p']],
      [['export', 'llava', 'p', '-o', 'out.json']],
      [['report', 'p', '-o', 'report.html']],
    ];
    for (const [args, input] of steps) {
      const { code, stderr } = await run(folder, setting, args, input);
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    }
    assert.equal(JSON.parse(readFileSync(join(home, 'out.json'), 'utf8')).length, 1);
  });

  test('has the licences of all that is bundled into dist', async () => {
    const text = readFileSync(join(root, 'dist/THIRD-PARTY-LICENSES'), 'utf8');
    assert.ok(packed.includes('dist/THIRD-PARTY-LICENSES'));
    const lock: Record<string, { version: string; dev?: boolean }> = JSON.parse(
      readFileSync(join(root, 'package-lock.json'), 'utf8'),
    ).packages;
    const heads = [...text.matchAll(/^-{80}\n\n(\S+) (\S+)\n\nLicence: (.+)$/gm)].map(([, ...head]) => head);
    for (const [name, version, license] of heads) {
      const locked = Object.entries(lock).filter(([path]) => path.endsWith(`node_modules/${name}`));
      assert.ok(
        locked.some(([, entry]) => entry.version === version && !entry.dev),
        `${name} ${version}`,
      );
      assert.notEqual(license, 'see below', name);
    }
    // Known to be bundled: what of oclif runs at every start, and what sharp is made of.
    for (const name of [
      '@oclif/core',
      'sharp',
      'semver',
      'detect-libc',
      'string-width',
      'wrap-ansi',
      'ejs',
      'debug',
      'ms',
    ])
      assert.ok(
        heads.some(([head]) => head === name),
        name,
      );
  });

  test('a package is in a bundle when something of it is in an output', async () => {
    const { bundledPackages, licenseText } = await import(join(root, 'scripts/licenses.mjs'));
    const inputs = {
      'src/a.ts': { bytesInOutput: 5 },
      'node_modules/semver/index.js': { bytesInOutput: 1 },
      'node_modules/semver/other.js': { bytesInOutput: 2 },
      'node_modules/debug/index.js': { bytesInOutput: 0 },
      'node_modules/@oclif/core/lib/node_modules/ms/index.js': { bytesInOutput: 3 },
    };
    const folders = bundledPackages({ outputs: { 'main.js': { inputs }, 'b.js': { inputs: {} } } });
    assert.deepEqual(folders, ['node_modules/@oclif/core/lib/node_modules/ms', 'node_modules/semver']);
    const folder = temporaryFolder('licence');
    writeFileSync(join(folder, 'package.json'), '{"name":"bare","version":"1.0.0"}');
    assert.throws(() => licenseText([folder]), /expected a licence, got none/);
    writeFileSync(join(folder, 'LICENSE.md'), 'Use it.\n');
    assert.match(licenseText([folder]), /^bare 1\.0\.0\n\nLicence: see below\n\nUse it\.$/m);
  });

  test('every package that a pixel thread loads is bundled, except the native library', () => {
    const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' });
    const scripts = files.filter((name) => name.endsWith('.js'));
    assert.ok(scripts.includes('workers/pixel-worker.js'));
    for (const name of scripts)
      assert.doesNotMatch(
        readFileSync(join(root, 'dist', name), 'utf8'),
        /(from|import\()"(sharp|semver|detect-libc)"/,
      );
  });

  test('what oclif needs only without a manifest is found where oclif is installed', async () => {
    const folder = install();
    const setting = { path: programs(...BASICS), home: temporaryFolder('home') };
    const usual = await run(folder, setting, ['--help']);
    rmSync(join(folder, 'oclif.manifest.json'));
    const found = await run(folder, setting, ['--help']);
    assert.match(usual.stdout, /^PROMPTS AND IMAGES\n {2}import /m);
    assert.deepEqual(found, usual);
    assert.equal((await run(folder, setting, ['pair', '--rule', 'given'], '')).code, 0);
  });

  test('without an engine, a command names what to install, and builds nothing for a model that it cannot open', async () => {
    const folder = install();
    const setting = { path: programs(...BASICS), home: temporaryFolder('home') };
    const { code, stderr } = await run(folder, setting, ['sample', '--model', model], prompt);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^vpref sample: the native engine is not built, and cannot be: missing: cmake, a C\+\+ compiler, make or ninja\n/,
    );
    assert.match(stderr, /sudo apt-get install cmake g\+\+ make libdnnl-dev/);
    assert.match(stderr, new RegExp(`no compiler +npm install -g ${ENGINE_PACKAGE}-\\d.*\\.tgz`));
    const doctor = await run(folder, setting, ['doctor']);
    const addon = JSON.parse(doctor.stdout.split('\n').find((line) => line.includes('"addon"'))!);
    assert.match(
      addon.remedy,
      /run again: Debian, Ubuntu: sudo apt-get install [a-z+ -]+ \(libdnnl-dev makes it fast\); /,
    );
    const other = await run(folder, setting, ['sample', '--model', 'none'], prompt);
    assert.doesNotMatch(other.stderr, /missing: cmake/);
  });

  test('a second build waits for the first, and the command then uses its engine', async (t) => {
    if (withoutEngine) return t.skip(withoutEngine);
    for (const isWritable of [true, false]) {
      const folder = install();
      const home = temporaryFolder('home');
      // A file where the folder would be: even root cannot write there.
      if (!isWritable) writeFileSync(join(folder, 'build'), '');
      const path = programs(...BASICS);
      fakeTools(path, { engine: loadBinding('cpu').path, log: join(home, 'calls') });
      const runs = [1, 2].map(() =>
        run(folder, { path, home }, ['sample', '--model', model, '--max-new-tokens', '2'], prompt),
      );
      for (const { code, stdout, stderr } of await Promise.all(runs)) {
        assert.equal(code, 0, stderr);
        assert.equal(JSON.parse(stdout).responses.length, 1);
        assert.match(
          stderr,
          /the native engine is not built yet: building it once, .* into (\S+) \(log: \S+build\.log\)/,
        );
        assert.match(stderr, /the native engine is built, \d+ s/);
      }
      // Never one inside the other.
      assert.match(readFileSync(join(home, 'calls'), 'utf8'), /^(?:begin\nend\n){2}$/);
      const cache = join(home, '.cache/vpref/native');
      assert.equal(existsSync(cache), !isWritable);
      const { stderr } = await run(
        folder,
        { path, home },
        ['sample', '--model', model, '--max-new-tokens', '2'],
        prompt,
      );
      assert.doesNotMatch(stderr, /building/);
    }
  });

  test('a prebuilt engine installed beside runs with no compiler; one that does not fit is named, and not used', async (t) => {
    if (withoutEngine) return t.skip(withoutEngine);
    const folder = install();
    const home = temporaryFolder('home');
    const setting = { path: programs(...BASICS), home };
    const beside = join(dirname(folder), ENGINE_PACKAGE);
    mkdirSync(beside);
    copyFileSync(loadBinding('cpu').path, join(beside, 'vpref_cpu.node'));
    const describe = (fields: object) =>
      writeFileSync(
        join(beside, 'package.json'),
        JSON.stringify({ name: ENGINE_PACKAGE, version: '9.9.9', ...fields }),
      );
    const sources = sourceKey(folder);
    const args = ['sample', '--model', model, '--max-new-tokens', '2'];

    describe({ vpref: { sources, glibc: '2.17' } });
    const ran = await run(folder, setting, args, prompt);
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(JSON.parse(ran.stdout).responses.length, 1);
    const doctor = await run(folder, setting, ['doctor']);
    assert.match(doctor.stdout, new RegExp(`vpref_cpu\\.node \\(prebuilt, ${ENGINE_PACKAGE} 9\\.9\\.9\\)`));

    for (const [vpref, why] of [
      [{ sources, glibc: '99.1' }, /it needs glibc 99\.1, this system has \d/],
      [{ sources: 'older', glibc: '2.17' }, /it was built from other sources \(older\) than these commands/],
      [{ sources }, undefined],
    ] as const) {
      describe({ vpref });
      const { code, stderr } = await run(folder, setting, args, prompt);
      if (why === undefined) assert.equal(code, 0, stderr);
      else {
        assert.equal(code, 1);
        assert.match(stderr, why);
        assert.match(stderr, /the native engine is not built, and cannot be: missing: cmake/);
        assert.match((await run(folder, setting, ['doctor'])).stdout, why);
      }
    }
    rmSync(join(beside, 'vpref_cpu.node'));
    describe({ vpref: { sources, glibc: '2.17' } });
    assert.match((await run(folder, setting, args, prompt)).stderr, /vpref_cpu\.node is missing in/);
  });

  test('a failed build prints the last lines of the compiler and the path of the log', async () => {
    const folder = install();
    const home = temporaryFolder('home');
    const path = programs(...BASICS);
    fakeTools(path, { log: join(home, 'calls') });
    const { code, stderr } = await run(folder, { path, home }, ['sample', '--model', model], prompt);
    assert.equal(code, 1);
    assert.match(stderr, /the native engine could not be built: main\.cc:1: error: no\nlog: \S+build\.log\n$/);
  });
});

/** cmake and g++ that give an engine, or an error, after a while, and note when they build. */
function fakeTools(path: string, { engine, log }: { engine?: string; log: string }): void {
  const build = engine
    ? `echo begin >>'${log}'; sleep 1; echo '[1/2]'; cp '${engine}' "$2/vpref_cpu.node"; echo end >>'${log}'`
    : "echo 'main.cc:1: error: no'; exit 1";
  rmSync(join(path, 'cmake'), { force: true });
  const write = (name: string, text: string) => {
    writeFileSync(join(path, name), `#!/usr/bin/env bash\n${text}\n`);
    chmodSync(join(path, name), 0o755);
  };
  write('cmake', `[ "$1" = --build ] || exit 0\n${build}`);
  write('g++', 'exit 0');
  write('make', 'exit 0');
}

test('the share that is built, from the last line of ninja or make', () => {
  const log = join(temporaryFolder('log'), 'build.log');
  for (const [text, share] of [
    ['[1/90] a\n[45/90] b\n', 0.5],
    ['[  5%] a\n[ 25%] b\n', 0.25],
    ['warming up\n', undefined],
  ] as const) {
    writeFileSync(log, text);
    assert.equal(builtShare(log), share);
  }
  assert.equal(builtShare(`${log}.none`), undefined);
});

test('versions are compared by number', () => {
  assert.equal(isOlder('2.9', '2.34'), true);
  assert.equal(isOlder('2.34', '2.34'), false);
  assert.equal(isOlder('2.36', '2.34'), false);
  assert.equal(isOlder('2.34', ''), false);
});
