// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { test } from 'node:test';
import type { Row, RowResult, Stage } from '../../src/flow/stage.ts';
import { decodeImage, loadImage } from '../../src/pixels/decode.ts';
import { imageSize } from '../../src/pixels/image-size.ts';
import { PIXEL_OPS, sizeAfter } from '../../src/pixels/ops.ts';
import { createPixelPool } from '../../src/pixels/pool.ts';
import { RecordError, UsageError } from '../../src/records/error.ts';
import { randomStream } from '../../src/records/random.ts';
import type { ViewOp, VprefRecord } from '../../src/records/record.ts';
import { viewInputs } from '../../src/records/view.ts';
import { augment, replay } from '../../src/stages/augment/index.ts';
import { drawStep, drawView, drawViewOps, replayView } from '../../src/stages/augment/make-view.ts';
import { IMAGENET_POLICY, magnitudeBins, RANDAUGMENT_OPS } from '../../src/stages/augment/policy.ts';
import { recipeHelp } from '../../src/stages/augment/recipe-help.ts';
import { RECIPES } from '../../src/stages/augment/recipes.ts';
import { renderedImages } from '../../src/stages/augment/render.ts';
import { parseViewSpecs } from '../../src/stages/augment/view-spec.ts';
import { fixtureImage, readGolden } from '../pixels/golden.ts';
import { squarePlan } from '../support/families.ts';
import { temporaryFolder } from '../support/run-cli.ts';

/** A spec for every recipe and operation, those without defaults with parameters. */
const SPECS = [
  ...['flip', 'rrcrop', 'autoaugment', 'randaugment', 'moco', 'moco-v2', 'moco-v3', 'moco-v3:view=2', 'byol', 'simclr'],
  ...[
    'diffusion',
    'hflip',
    'vflip:p=0.5',
    'crop:left=1,top=2,width=5,height=4',
    'crop:size=20',
    'crop:size=9,at=random',
  ],
  ...['resize:size=30', 'resize:width=9,height=31,filter=lanczos', 'pad:all=5,fill=1/2/3', 'rotate:degrees=0..180'],
  ...['shear-x:magnitude=-0.3..0.3', 'shear-y:magnitude=0.2', 'translate-x:pixels=-9..9', 'translate-y:pixels=4'],
  ...[
    'affine:degrees=30..70,scale=0.5..0.75,translate-x=-4..4',
    'perspective:distortion=0.6',
    'brightness:factor=0.5..1.5',
  ],
  ...[
    'contrast:factor=1.3',
    'saturation:factor=0.2',
    'hue:factor=-0.1..0.1',
    'grayscale:p=0.2',
    'invert',
    'posterize:bits=2..6',
  ],
  ...[
    'solarize',
    'equalize',
    'autocontrast',
    'sharpness:factor=0',
    'blur:sigma=0.1..2',
    'rrcrop+autoaugment+diffusion:step=500',
  ],
];

const specOf = (text: string) => parseViewSpecs([text])[0]!;

/** Draws of a spec of one recipe, one for each of `count` record ids; no pixels are touched. */
function drawOps(text: string, count: number, size = { width: 64, height: 48 }): ViewOp[][] {
  const [step] = specOf(text).steps;
  return Array.from({ length: count }, (_, i) => drawStep(size, step!, randomStream(3, `r${i}`, text)));
}

const share = <T>(items: T[], holds: (item: T) => boolean) => items.filter(holds).length / items.length;

function assertShare(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) < 0.05, `${what}: ${actual}, expected about ${expected}`);
}

test('every recipe and operation has a spec here, and is in the help', () => {
  const used = new Set(SPECS.flatMap((text) => specOf(text).steps.map(({ recipe }) => recipe)));
  assert.deepEqual(
    [...RECIPES.keys()].filter((name) => !used.has(name)),
    [],
  );
  for (const name of RECIPES.keys()) assert.match(recipeHelp(), new RegExp(`^- \`${name}\\b.*\`: .+$`, 'm'));
});

test('recorded operations, through JSON, give the same pixels again', async () => {
  for (const name of ['photo.png', 'wide.png', 'tiny.png', 'pixel.png', 'gray.png']) {
    const image = await loadImage(fixtureImage(name));
    for (const text of SPECS) {
      for (const id of ['a', 'b', 'c']) {
        const made = drawView(image, specOf(text), randomStream(1, id, text));
        const again = replayView(image, JSON.parse(JSON.stringify(made.ops)));
        assert.deepEqual(again, made.image, `${name} ${text}`);
        assert.ok(made.ops.every(({ op }) => op === 'diffusion' || op in PIXEL_OPS));
      }
    }
  }
});

test('operations are drawn from the size alone, and sizes follow them', async () => {
  for (const name of ['photo.png', 'wide.png', 'tiny.png', 'exif-6.jpg', 'animated.gif']) {
    const source = fixtureImage(name);
    const image = await loadImage(source);
    const size = await imageSize(source);
    assert.deepEqual(size, { width: image.width, height: image.height }, name);
    for (const text of [...SPECS, 'rotate:degrees=0..360,expand=1+crop:size=9,at=random', 'pad:all=3+rrcrop:size=7']) {
      const made = drawView(image, specOf(text), randomStream(1, 'a', text));
      const ops = drawViewOps(size, specOf(text), randomStream(1, 'a', text));
      assert.deepEqual(ops, made.ops, `${name} ${text}`);
      const after = ops.filter(({ op }) => op !== 'diffusion').reduce(sizeAfter, size);
      assert.deepEqual(after, { width: made.image.width, height: made.image.height }, `${name} ${text}`);
    }
  }
});

test('the header tells the size of every kind of image', async () => {
  for (const name of readdirSync(dirname(fixtureImage('photo.png')))) {
    const source = fixtureImage(name);
    const image = await loadImage(source).catch(() => undefined);
    if (image === undefined) continue;
    assert.deepEqual(await imageSize(source), { width: image.width, height: image.height }, name);
  }
});

test('a view without files is the same pixels as its file', async () => {
  const pool = createPixelPool(1);
  try {
    const record = { id: 'a', prompt: 'q', images: [fixtureImage('photo.png'), fixtureImage('exif-6.jpg')] };
    const views = parseViewSpecs(['moco:size=20', 'rotate:degrees=30,expand=1+diffusion']);
    const folder = temporaryFolder();
    const [recipes, files] = await Promise.all(
      [{}, { imageDir: folder }].map(async (where) => {
        const results = await run(augment({ views, seed: 4, createPool: () => createPixelPool(1), ...where }), [
          record,
        ]);
        return results[0]!.records[0]!;
      }),
    );
    const plan = squarePlan('pad', 24, 24);
    const modelType = 'llava';
    for (const { name } of views) {
      const [recipe, file] = [viewInputs(recipes!, name), viewInputs(files!, name)];
      assert.equal(recipes!.views!.find((view) => view.name === name)!.images, undefined);
      assert.deepEqual(recipe.noise, file.noise);
      const rendered = await renderedImages(recipe);
      for (const [index, source] of recipe.images.entries()) {
        const applied = await pool.run('modelInput', { source, modelType, plan, ops: recipe.ops![index]! });
        assert.deepEqual(applied, await pool.run('modelInput', { source: file.images[index]!, modelType, plan }));
        assert.deepEqual(await loadImage(rendered[index]!), await loadImage(file.images[index]!));
      }
    }
  } finally {
    await pool.close();
  }
});

test('drawing does not change the image it draws for', async () => {
  const image = await loadImage(fixtureImage('photo.png'));
  const before = image.data.slice();
  for (const text of SPECS) drawView(image, specOf(text), randomStream(1, 'a', text));
  assert.deepEqual(image.data, before);
});

interface PolicyGolden {
  imagenet: unknown;
  size: { width: number; height: number };
  autoaugment_bins: Record<string, { values: number[]; signed: boolean }>;
  randaugment_bins: Record<string, { values: number[]; signed: boolean }>;
  randaugment_ops: string[];
}

test("AutoAugment's table and all magnitudes equal torchvision's", () => {
  const golden = readGolden<PolicyGolden>('augment/policy.json');
  assert.deepEqual(IMAGENET_POLICY, golden.imagenet);
  assert.deepEqual(RANDAUGMENT_OPS, golden.randaugment_ops);
  for (const [bins, expected] of [
    [magnitudeBins(10, golden.size), golden.autoaugment_bins],
    [magnitudeBins(31, golden.size), golden.randaugment_bins],
  ] as const) {
    assert.deepEqual(Object.keys(bins).sort(), Object.keys(expected).sort());
    for (const [op, { values, signed }] of Object.entries(bins)) {
      assert.equal(signed, expected[op]!.signed, op);
      assert.deepEqual([...values], expected[op]!.values, op);
    }
  }
});

test('AutoAugment applies operations as often as its table says', () => {
  const draws = drawOps('autoaugment', 4000);
  const expected = (op: string) => {
    const chances = IMAGENET_POLICY.map(
      (steps) => 1 - steps.reduce((none, [name, p]) => none * (name === op ? 1 - p : 1), 1),
    );
    return chances.reduce((sum, p) => sum + p, 0) / chances.length;
  };
  for (const op of ['equalize', 'posterize', 'rotate', 'saturation', 'solarize', 'contrast', 'invert', 'shear-x']) {
    assertShare(
      share(draws, (ops) => ops.some((one) => one.op === op)),
      expected(op),
      op,
    );
  }
  const rotations = draws.flat().filter(({ op }) => op === 'rotate');
  assertShare(
    share(rotations, ({ degrees }) => (degrees as number) < 0),
    0.5,
    'negative rotations',
  );
});

test('RandAugment applies as many operations as asked, all kinds alike', () => {
  const draws = drawOps('randaugment:ops=3,magnitude=30', 3000);
  const kinds = RANDAUGMENT_OPS.filter((op) => op !== 'identity');
  for (const kind of kinds) {
    const mean = draws.flat().filter(({ op }) => op === kind).length / draws.length;
    assertShare(mean, 3 / RANDAUGMENT_OPS.length, kind);
  }
  assert.ok(draws.every((ops) => ops.length <= 3));
});

test('a random resized crop keeps to its area and shape, and falls back to the middle', () => {
  const crops = drawOps('rrcrop', 3000).map(([crop]) => crop as unknown as Record<string, number>);
  for (const { left, top, width, height } of crops as { left: number; top: number; width: number; height: number }[]) {
    const area = (width * height) / (64 * 48);
    assert.ok(area > 0.33 && area < 0.68, `area ${area}`);
    assert.ok(width / height > 0.7 && width / height < 1.4, `shape ${width}x${height}`);
    assert.ok(left >= 0 && top >= 0 && left + width <= 64 && top + height <= 48);
  }
  const areas = crops.map(({ width, height }) => (width! * height!) / (64 * 48));
  assertShare(areas.reduce((sum, area) => sum + area, 0) / areas.length, 0.5, 'mean area');
  const narrow = drawOps('rrcrop', 1, { width: 300, height: 2 })[0]![0]!;
  assert.deepEqual(narrow, { op: 'crop', left: 148, top: 0, width: 3, height: 2 });
});

test('the contrastive recipes differ where their papers do', () => {
  const has = (op: string) => (ops: ViewOp[]) => ops.some((one) => one.op === op);
  const expected: Record<string, { flip: number; jitter: number; gray: number; blur: number; solarize: number }> = {
    moco: { flip: 0.5, jitter: 1, gray: 0.2, blur: 1, solarize: 0 },
    byol: { flip: 0.5, jitter: 1, gray: 0.2, blur: 1, solarize: 0 },
    simclr: { flip: 0.5, jitter: 1, gray: 0.2, blur: 0, solarize: 0 },
    'moco-v2': { flip: 0.5, jitter: 0.8, gray: 0.2, blur: 0.5, solarize: 0 },
    'moco-v3': { flip: 0.5, jitter: 0.8, gray: 0.2, blur: 1, solarize: 0 },
    'moco-v3:view=2': { flip: 0.5, jitter: 0.8, gray: 0.2, blur: 0.1, solarize: 0.2 },
  };
  for (const [text, shares] of Object.entries(expected)) {
    const draws = drawOps(text, 1500);
    assertShare(share(draws, has('hflip')), shares.flip, `${text} flip`);
    assertShare(share(draws, has('grayscale')), shares.gray, `${text} gray`);
    assertShare(share(draws, has('blur')), shares.blur, `${text} blur`);
    assertShare(share(draws, has('solarize')), shares.solarize, `${text} solarize`);
    for (const op of ['brightness', 'contrast', 'saturation', 'hue'])
      assertShare(share(draws, has(op)), shares.jitter, `${text} ${op}`);
    const range = (op: string, key: string) =>
      draws
        .flat()
        .filter((one) => one.op === op)
        .map((one) => one[key] as number);
    const [hueLimit, colorLimit] = [text === 'simclr' ? 0.4 : 0.1, text.startsWith('moco-v3') ? 0.2 : 0.4];
    assert.ok(
      range('hue', 'factor').every((x) => Math.abs(x) <= hueLimit) &&
        Math.max(...range('hue', 'factor')) > hueLimit * 0.95,
    );
    assert.ok(range('saturation', 'factor').every((x) => Math.abs(x - 1) <= colorLimit));
    assert.ok(range('blur', 'sigma').every((x) => x >= 0.1 && x <= 2));
    assert.ok(draws.every((ops) => ops[0]!.op === 'crop' && ops[1]!.op === 'resize' && ops[1]!.width === 224));
  }
  assertShare(
    share(drawOps('flip', 2000), (ops) => ops.length === 1),
    0.5,
    'flip',
  );
  const orders = new Set(
    drawOps('moco', 1500).map((ops) =>
      ops
        .map(({ op }) => op)
        .filter((op) => /ness|contrast|satur|hue/.test(op))
        .join(),
    ),
  );
  assert.equal(orders.size, 24);
});

test('ranges draw inside their ends, whole ones with both ends', () => {
  const bits = drawOps('posterize:bits=2..4', 200).map(([op]) => op!.bits);
  assert.deepEqual(new Set(bits), new Set([2, 3, 4]));
  const degrees = drawOps('rotate:degrees=10..20', 500).map(([op]) => op!.degrees as number);
  assert.ok(
    Math.min(...degrees) >= 10 &&
      Math.min(...degrees) < 10.5 &&
      Math.max(...degrees) < 20 &&
      Math.max(...degrees) > 19.5,
  );
  assertShare(
    share(drawOps('invert:p=0.3', 2000), (ops) => ops.length === 1),
    0.3,
    'p',
  );
});

test('views are named after their recipes, or as asked', () => {
  const names = (...texts: string[]) => parseViewSpecs(texts).map(({ name }) => name);
  assert.deepEqual(names('moco', 'moco', 'rrcrop+hflip', 'diffusion:step=900,name=strong'), [
    'moco',
    'moco-2',
    'rrcrop+hflip',
    'strong',
  ]);
});

const refused: [spec: string, message: RegExp][] = [
  ['', /expected one of flip rrcrop .*, got ""/],
  ['swirl', /^--op swirl: expected one of .*, got "swirl"$/],
  ['constructor', /expected one of/],
  ['rotate', /expected rotate with degrees=, got none/],
  ['rotate:degrees', /expected parameters as k=v,k=v, got "degrees"/],
  ['rotate:degrees=', /degrees: a number, or a..b, in -36000..36000, got ""/],
  ['rotate:degrees=x', /got "x"/],
  ['rotate:degrees=9..1', /got "9..1"/],
  ['rotate:degrees=1..2..3', /got "1..2..3"/],
  ['rotate:degres=10', /expected rotate with degrees expand filter fill p name, got degres/],
  ['rotate:degrees=9,filter=box', /filter: one of nearest bilinear bicubic, got "box"/],
  ['rotate:degrees=9,fill=1/2', /fill: 3 numbers in 0..255, got "1\/2"/],
  ['posterize:bits=2.5', /bits: a whole number/],
  ['diffusion:step=1000', /step: a whole number, or a..b, in 0..999, got "1000"/],
  ['diffusion+hflip', /expected diffusion last: .*, got hflip after it/],
  ['hflip:p=2', /p: a number in 0..1, got "2"/],
  ['hflip:name=original', /name: letters, digits/],
  ['hflip:name=a/b', /name: letters, digits/],
  ['hflip:__proto__=1', /expected hflip with p name, got __proto__/],
  ['rrcrop:scale=0.5', /scale: a..b in/],
  ['crop:left=1', /size: expected it, or width and height/],
  ['crop:size=4,width=5,height=6', /size: expected it, or width and height/],
  ['resize:width=4', /size: expected it, or width and height/],
  ['perspective', /corners: expected them or distortion, not both/],
  ['randaugment:magnitude=31', /magnitude: expected less than bins=31, got 31/],
  ['hflip+', /expected one of/],
];
for (const [spec, message] of refused) {
  test(`--op ${JSON.stringify(spec)} is refused with a reason`, () => {
    assert.throws(
      () => parseViewSpecs([spec]),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  });
}

test('a name given twice is refused', () => {
  assert.throws(() => parseViewSpecs(['hflip:name=a', 'vflip:name=a']), UsageError);
});

// The stage.

const record = (id: string, ...images: string[]): VprefRecord => ({
  id,
  images: images.map(fixtureImage),
  prompt: 'What is it?',
});

async function run(stage: Stage, records: VprefRecord[]): Promise<RowResult[]> {
  async function* rows(): AsyncGenerator<Row> {
    for (const [i, one] of records.entries()) yield { record: one, source: 'test', line: i + 1 };
  }
  const results: RowResult[] = [];
  for await (const result of stage(rows())) results.push(result);
  return results;
}

const createPool = () => createPixelPool(2);
const noPool = () => assert.fail('no pixel work to do');

/** Records with the folder of their images left out, so that two runs compare. */
const comparable = (results: RowResult[]) =>
  results.map(({ records: [one] }) =>
    one!.views!.map((view) => ({ ...view, images: view.images?.map((path) => basename(path)) })),
  );

const RECORDS = [
  record('a/1', 'photo.jpg'),
  record('b', 'rgba.png'),
  record('c', 'exif-6.jpg', 'wide.png'),
  record('d', 'tiny.png'),
  record('../e', 'palette.png'),
];
const VIEWS = ['moco', 'flip', 'autoaugment', 'rrcrop:size=32+diffusion:step=500', 'diffusion'];

test('the same seed gives the same records and files, whatever the order or shard; another seed does not', async () => {
  const folders = ['whole', 'reversed', 'shard', 'other'].map((name) => temporaryFolder(`augment-${name}`));
  const views = parseViewSpecs(VIEWS);
  const make = (imageDir: string, seed: number, records: VprefRecord[]) =>
    run(augment({ views, seed, imageDir, createPool }), records);
  const whole = await make(folders[0]!, 1, RECORDS);
  const reversed = await make(folders[1]!, 1, [...RECORDS].reverse());
  const shard = await make(
    folders[2]!,
    1,
    RECORDS.filter((_, i) => i % 2 === 1),
  );
  const other = await make(folders[3]!, 2, RECORDS);
  assert.deepEqual(comparable(whole), comparable(reversed).reverse());
  assert.deepEqual(
    comparable(whole).filter((_, i) => i % 2 === 1),
    comparable(shard),
  );
  assert.notDeepEqual(comparable(whole), comparable(other));
  const files = readdirSync(folders[0]!).sort();
  assert.deepEqual(files, readdirSync(folders[1]!).sort());
  for (const file of files)
    assert.deepEqual(readFileSync(join(folders[0]!, file)), readFileSync(join(folders[1]!, file)), file);
});

test('image files hold what the recorded operations give, and replay writes them again byte for byte', async () => {
  const [first, second] = [temporaryFolder('augment'), temporaryFolder('augment')];
  const made = await run(augment({ views: parseViewSpecs(VIEWS), seed: 5, imageDir: first, createPool }), RECORDS);
  for (const {
    records: [one],
  } of made) {
    for (const view of one!.views!.filter((view) => view.name !== 'diffusion')) {
      assert.equal(view.images!.length, one!.images!.length);
      for (const [i, path] of view.images!.entries()) {
        const ops = view.ops.filter((op) => op.image === undefined || op.image === i);
        const expected = replayView(await loadImage(one!.images![i]!), ops);
        assert.deepEqual(await decodeImage(readFileSync(path), path), expected, path);
      }
    }
  }
  const again = await run(
    replay({ imageDir: second, createPool }),
    made.map(({ records: [one] }) => one!),
  );
  assert.deepEqual(comparable(again), comparable(made));
  for (const file of readdirSync(first))
    assert.deepEqual(readFileSync(join(second, file)), readFileSync(join(first, file)), file);
});

test('a picture that is there but torn is made again, one that is whole is left alone', async () => {
  const imageDir = temporaryFolder('augment');
  const make = () => run(augment({ views: parseViewSpecs(['hflip']), seed: 0, imageDir, createPool }), RECORDS);
  await make();
  const files = readdirSync(imageDir).map((name) => join(imageDir, name));
  const before = files.map((file) => readFileSync(file));
  truncateSync(files[0]!, before[0]!.length >> 1);
  writeFileSync(files[1]!, readFileSync(fixtureImage('photo.png')));
  await make();
  for (const [i, file] of files.entries()) assert.deepEqual(readFileSync(file), before[i], file);
});

test('what a record calls its views and files leads out of no folder', async () => {
  const folder = temporaryFolder('augment');
  const [imageDir, previewDir] = [join(folder, 'a/views'), join(folder, 'a/look')];
  const view = { name: '../../out', ops: [{ op: 'hflip' }], seed: 0, images: ['/elsewhere/x.png'] };
  const records = ['../../id', '..', 'x/y', 'x_y'].map((id) => ({ ...record(id, 'photo.png'), id, views: [view] }));
  await run(replay({ imageDir, previewDir, createPool }), records);
  assert.deepEqual(readdirSync(folder), ['a']);
  assert.deepEqual(readdirSync(join(folder, 'a')).sort(), ['look', 'views']);
  // Two previews a record, also where ids look the same as file names.
  assert.equal(readdirSync(previewDir).length, 8);
  for (const images of [['/elsewhere/x.png'], ['../x.png'], ['a/../../x.png']]) {
    const [result] = await run(replay({ createPool }), [{ ...record('r', 'photo.png'), views: [{ ...view, images }] }]);
    assert.match(
      result!.error!.message,
      /views\[0\]\.images\[0\]: expected a file below the current folder \(--image-dir gives another\)/,
    );
  }
  assert.ok(!existsSync('/elsewhere'));
});

test('diffusion stays a recipe: no image is read, one seed for all images of the view', async () => {
  const absent: VprefRecord = { id: 'x', images: ['/absent/1.png', '/absent/2.png'], prompt: 'p' };
  const stage = augment({ views: parseViewSpecs(['diffusion:step=900']), seed: 0, createPool: noPool });
  const [
    {
      records: [one],
    },
  ] = (await run(stage, [absent])) as [RowResult];
  const [view] = one!.views!;
  assert.deepEqual({ ...view, ops: [] }, { name: 'diffusion', ops: [], seed: 0 });
  assert.equal(view!.ops.length, 1);
  const { seed, ...rest } = view!.ops[0]!;
  assert.deepEqual(rest, { op: 'diffusion', step: 900 });
  assert.ok(Number.isSafeInteger(seed) && (seed as number) >= 0);
  assert.deepEqual(viewInputs(one!, 'diffusion'), { images: absent.images, noise: { step: 900, seed } });
});

test('noise of a chained view is the same with and without pixel work', async () => {
  const imageDir = temporaryFolder('augment');
  const views = parseViewSpecs(['hflip+diffusion', 'diffusion']);
  const [one] = await run(augment({ views, seed: 0, imageDir, createPool }), [record('c', 'photo.png', 'tiny.png')]);
  const [chained, alone] = one!.records[0]!.views!;
  assert.deepEqual(
    chained!.ops.map(({ op, image }) => [op, image]),
    [
      ['hflip', 0],
      ['hflip', 1],
      ['diffusion', undefined],
    ],
  );
  const [plain] = await run(augment({ views: [views[1]!], seed: 0, createPool: noPool }), [
    record('c', 'photo.png', 'tiny.png'),
  ]);
  assert.deepEqual(plain!.records[0]!.views![0], alone);
});

test('--preview writes every view to look at, noise at model size', async () => {
  const previewDir = temporaryFolder('preview');
  await run(augment({ views: parseViewSpecs(['diffusion', 'diffusion:step=100']), seed: 0, previewDir, createPool }), [
    record('p', 'photo.png'),
  ]);
  const files = readdirSync(previewDir).sort();
  assert.deepEqual(files, ['p.diffusion-2.png', 'p.diffusion.png', 'p.original.png']);
  const original = await loadImage(join(previewDir, 'p.original.png'));
  assert.deepEqual(original, await loadImage(fixtureImage('photo.png')));
  const spread = async (name: string) => {
    const { width, height, data } = await loadImage(join(previewDir, name));
    assert.deepEqual([width, height], [336, 336]);
    let sum = 0;
    for (let i = 3; i < data.length; i++) sum += Math.abs(data[i]! - data[i - 3]!);
    return sum / data.length;
  };
  assert.ok((await spread('p.diffusion.png')) > 2 * (await spread('p.diffusion-2.png')));
});

test('rows that cannot be augmented fail by themselves, with their place', async () => {
  const imageDir = temporaryFolder('augment');
  const rows: VprefRecord[] = [
    record('ok', 'photo.png'),
    { id: 'none', prompt: 'p' },
    record('broken', 'truncated.jpg'),
    { ...record('taken', 'photo.png'), views: [{ name: 'hflip', ops: [], seed: 0 }] },
    record('gone', 'photo.png', 'absent.png'),
    record('last', 'tiny.png'),
  ];
  const results = await run(augment({ views: parseViewSpecs(['hflip']), seed: 0, imageDir, createPool }), rows);
  assert.deepEqual(
    results.map(({ row }) => row.record.id),
    rows.map(({ id }) => id),
  );
  assert.deepEqual(
    results.map(({ records }) => records.length),
    [1, 0, 0, 0, 0, 1],
  );
  const messages = results.map(({ error }) => error?.message ?? '');
  assert.match(messages[1]!, /^test:2: images: expected at least one image to augment, got none$/);
  assert.match(
    messages[2]!,
    /^test:3: images\[0\]: expected a whole JPEG image, got .*truncated\.jpg: one that does not decode/,
  );
  assert.match(messages[3]!, /^test:4: views: expected no view named "hflip" yet/);
  assert.match(messages[4]!, /^test:5: images\[1\]: expected an image file, got .*absent\.png: no such file$/);
  for (const { error } of results) assert.ok(error === undefined || error.cause instanceof RecordError);
});

test('views are added to those that are there', async () => {
  const before: VprefRecord = { ...record('a', 'photo.png'), views: [{ name: 'hflip', ops: [], seed: 9 }], extra: 1 };
  const [one] = await run(augment({ views: parseViewSpecs(['diffusion']), seed: 0, createPool: noPool }), [before]);
  const { views, ...rest } = one!.records[0]!;
  assert.deepEqual(
    views!.map(({ name }) => name),
    ['hflip', 'diffusion'],
  );
  assert.deepEqual({ ...rest, views: before.views }, before);
});
