// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Row } from '../../src/flow/stage.ts';
import type { RecordError } from '../../src/records/error.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { Float, formatRow } from '../../src/stages/export/format.ts';
import { imagePaths } from '../../src/stages/export/image-path.ts';
import { type ExportOptions, exportLines, newExportCounts } from '../../src/stages/export/index.ts';
import { datasetEntry } from '../../src/stages/export/llama-factory.ts';

async function run(format: string, records: Partial<VprefRecord>[], more: Partial<ExportOptions> = {}) {
  async function* rows(): AsyncGenerator<Row> {
    for (const [index, record] of records.entries())
      yield { record: { id: `r${index}`, prompt: 'q', ...record }, source: 'f', line: index + 1 };
  }
  const counts = newExportCounts();
  const errors: string[] = [];
  const failed = (error: RecordError) => errors.push(error.message);
  const lines: string[] = [];
  const options = { format, imagePath: imagePaths({}), ...more };
  for await (const line of exportLines(rows(), options, counts, failed)) lines.push(line);
  return { lines, counts, errors };
}

const one = async (format: string, record: Partial<VprefRecord>) => {
  const { lines, errors } = await run(format, [record]);
  assert.deepEqual(errors, []);
  const parsed = JSON.parse(lines.join('\n'));
  return Array.isArray(parsed) ? parsed[0] : parsed;
};
const failure = async (format: string, record: Partial<VprefRecord>) => (await run(format, [record])).errors[0];

const image = { images: ['d/a.jpg'] };
const pairOf = { chosen: 'c', rejected: 'r' };
const dialogue: VprefRecord['prompt'] = [
  { role: 'system', content: 's' },
  { role: 'user', content: 'look: <image> what?' },
  { role: 'assistant', content: 'a cat' },
  { role: 'user', content: 'sure?' },
];
const text = (content: string) => [{ type: 'text', text: content }];

test('trl: parts with an image slot, answers as messages, log-probs as floats', async () => {
  const { lines } = await run('trl', [{ ...image, ...pairOf, ref_chosen_logps: -7, ref_rejected_logps: -8.25 }]);
  assert.equal(
    lines[0],
    '{"id":"r0","images":["d/a.jpg"],"prompt":[{"role":"user","content":[{"type":"image"},{"type":"text","text":"q"}]}],' +
      '"chosen":[{"role":"assistant","content":[{"type":"text","text":"c"}]}],' +
      '"rejected":[{"role":"assistant","content":[{"type":"text","text":"r"}]}],"ref_chosen_logps":-7.0,"ref_rejected_logps":-8.25}',
  );
  const row = await one('trl', { ...image, prompt: dialogue, response: 'yes', label: false });
  assert.deepEqual(row.prompt[1], { role: 'user', content: [...text('look: '), { type: 'image' }, ...text(' what?')] });
  assert.deepEqual(
    [row.completion, row.label, row.chosen],
    [[{ role: 'assistant', content: text('yes') }], false, undefined],
  );
});

test('trl: rows without images are plain text, unless the layout says otherwise', async () => {
  const plain = await one('trl', pairOf);
  assert.deepEqual(plain, {
    id: 'r0',
    prompt: [{ role: 'user', content: 'q' }],
    chosen: [{ role: 'assistant', content: 'c' }],
    rejected: [{ role: 'assistant', content: 'r' }],
  });
  const vision = await run('trl', [pairOf], { isText: false });
  assert.deepEqual(JSON.parse(vision.lines[0]!).images, []);
  const mixed = await run('trl', [pairOf, { ...image, ...pairOf }]);
  assert.deepEqual(mixed.errors, [
    'f:2: images: expected none, as in the first row (--layout vision writes both kinds), got 1',
  ]);
  assert.deepEqual((await run('trl', [{ ...image, ...pairOf }, pairOf])).errors, []);
});

test('K rejected responses give K rows with their log-probs; LLaVA holds only the chosen one', async () => {
  const record = {
    ...image,
    chosen: 'c',
    rejected: ['x', 'y'],
    ref_chosen_logps: -1.5,
    ref_rejected_logps: [-2.5, -3.5],
  };
  const { lines, counts } = await run('trl', [record]);
  const rows = lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    rows.map(({ id, rejected, ref_rejected_logps: logps }) => [id, rejected[0].content[0].text, logps]),
    [
      ['r0#0', 'x', -2.5],
      ['r0#1', 'y', -3.5],
    ],
  );
  assert.equal(counts.rows, 2);
  const llava = await run('llava', [record]);
  assert.deepEqual(
    JSON.parse(llava.lines.join('\n')).map(({ id }: { id: string }) => id),
    ['r0'],
  );
});

test('llama-factory: sharegpt turns, one mark per image, and the entry that names the columns', async () => {
  const row = await one('llama-factory', { ...image, ...pairOf, prompt: dialogue });
  assert.deepEqual(row, {
    conversations: [
      { from: 'human', value: 'look: <image> what?' },
      { from: 'gpt', value: 'a cat' },
      { from: 'human', value: 'sure?' },
    ],
    chosen: { from: 'gpt', value: 'c' },
    rejected: { from: 'gpt', value: 'r' },
    system: 's',
    images: ['d/a.jpg'],
  });
  assert.deepEqual(datasetEntry('p.jsonl', row), {
    file_name: 'p.jsonl',
    formatting: 'sharegpt',
    ranking: true,
    columns: { messages: 'conversations', system: 'system', images: 'images', chosen: 'chosen', rejected: 'rejected' },
    tags: { role_tag: 'from', content_tag: 'value', user_tag: 'human', assistant_tag: 'gpt', system_tag: 'system' },
  });
  const two = await one('llama-factory', { images: ['a', 'b'], response: 'r', label: true });
  assert.deepEqual(two, {
    conversations: [
      { from: 'human', value: '<image>\n<image>\nq' },
      { from: 'gpt', value: 'r' },
    ],
    kto_tag: true,
    system: '',
    images: ['a', 'b'],
  });
  assert.deepEqual(datasetEntry('k.jsonl', two).columns, {
    messages: 'conversations',
    system: 'system',
    images: 'images',
    kto_tag: 'kto_tag',
  });
  assert.equal('ranking' in datasetEntry('k.jsonl', two), false);
});

test('ms-swift: messages end in the chosen answer', async () => {
  const row = await one('ms-swift', { ...image, ...pairOf, prompt: dialogue, rejected_images: ['v/a.png'] });
  assert.deepEqual(row, {
    messages: [
      { role: 'system', content: 's' },
      { role: 'user', content: 'look: <image> what?' },
      { role: 'assistant', content: 'a cat' },
      { role: 'user', content: 'sure?' },
      { role: 'assistant', content: 'c' },
    ],
    rejected_response: 'r',
    images: ['d/a.jpg'],
    rejected_images: ['v/a.png'],
  });
  const kto = await one('ms-swift', { response: 'r', label: false });
  assert.deepEqual([kto.messages.at(-1), kto.label, kto.images], [{ role: 'assistant', content: 'r' }, false, []]);
  const sets = await one('ms-swift', { ...image, ...pairOf, rejected_images: [['v/a.png'], ['v/b.png']] });
  assert.deepEqual(sets.rejected_images, ['v/a.png']);
});

test('llava and seva write one JSON array', async () => {
  const { lines } = await run('llava', [{ ...image, response: 'a' }, { response: 'b' }]);
  assert.deepEqual(
    lines.map((line) => line[0]),
    ['[', '{', '{', ']'],
  );
  assert.deepEqual(JSON.parse(lines.join('\n')), [
    {
      id: 'r0',
      image: 'd/a.jpg',
      conversations: [
        { from: 'human', value: '<image>\nq' },
        { from: 'gpt', value: 'a' },
      ],
    },
    {
      id: 'r1',
      conversations: [
        { from: 'human', value: 'q' },
        { from: 'gpt', value: 'b' },
      ],
    },
  ]);
  assert.deepEqual((await run('llava', [])).lines, ['[', ']']);
  assert.deepEqual(await one('seva', { ...image, ...pairOf, prompt: '<image>\nwhat?' }), {
    image_id: 'a.jpg',
    question: 'what?',
    chosen: 'c',
    reject: 'r',
  });
});

test('a record that the format cannot hold is reported, and the other rows are written', async () => {
  const cases: [string, Partial<VprefRecord>, string][] = [
    ['trl', {}, 'chosen: expected chosen and rejected, or response (see vpref pair), got nothing'],
    ['trl', { chosen: 'c' }, 'rejected: expected chosen and rejected, or response (see vpref pair), got nothing'],
    [
      'trl',
      { ...image, ...pairOf, prompt: '<image><image>q' },
      'prompt: expected 1 image slots or none written, got 2',
    ],
    [
      'trl',
      {
        ...pairOf,
        prompt: [
          { role: 'user', content: 'q' },
          { role: 'assistant', content: null },
        ],
      },
      'prompt[1].content: expected a turn with text, got null: sample has not filled it',
    ],
    [
      'llama-factory',
      { chosen: 'see <image>', rejected: 'r' },
      'chosen: expected text without <image>, which this format takes for an image slot, got "see <image>"',
    ],
    [
      'llama-factory',
      { ...pairOf, prompt: [{ role: 'user', content: text('<image>') as never }] },
      'prompt[0]: expected text without <image>, which this format takes for an image slot, got "<image>"',
    ],
    [
      'llama-factory',
      { ...pairOf, prompt: dialogue.slice(1, 3), ...image },
      'prompt: expected a user turn at its end, got an assistant turn',
    ],
    [
      'llama-factory',
      { ...pairOf, prompt: [{ role: 'assistant', content: 'a' }] },
      'prompt[0].role: expected "user", got "assistant"',
    ],
    [
      'llava',
      { ...image, response: 'r', prompt: dialogue },
      'prompt[0].role: expected "user" or "assistant" (LLaVA has a fixed system text), got "system"',
    ],
    ['seva', { ...image, response: 'r' }, 'chosen: expected a pair (SeVa has no other rows), got nothing'],
    ['seva', pairOf, 'images: expected one image, got 0'],
    ['seva', { ...image, ...pairOf, prompt: dialogue }, 'prompt: expected one user turn, got 4 turns, first of system'],
    [
      'ms-swift',
      { response: '<image>' },
      'response: expected text without <image>, which this format takes for an image slot, got "<image>"',
    ],
  ];
  for (const [format, record, message] of cases) assert.equal(await failure(format, record), `f:1: ${message}`);
  const mixed = await run('ms-swift', [pairOf, { response: 'r' }, {}, pairOf]);
  assert.equal(mixed.lines.length, 2);
  assert.deepEqual(mixed.errors, [
    'f:2: record: expected the columns of the first row (messages, rejected_response, images), got (messages, images)',
    'f:3: chosen: expected chosen and rejected, or response (see vpref pair), got nothing',
  ]);
});

test('image paths: relative to a root, data: URIs as files named by their content', async () => {
  const under = (path: string, root: string) =>
    run('llava', [{ images: [path], response: 'r' }], { imagePath: imagePaths({ root }) });
  assert.equal(JSON.parse((await under('data/coco/1.jpg', 'data')).lines.join(''))[0].image, 'coco/1.jpg');
  assert.equal(JSON.parse((await under(join(process.cwd(), 'data/2.jpg'), 'data/')).lines.join(''))[0].image, '2.jpg');
  for (const outside of ['other/1.jpg', 'data/../x.jpg'])
    assert.deepEqual((await under(outside, 'data')).errors, [
      `f:1: images[0]: expected a path under data (--image-root), got ${outside}`,
    ]);
  const directory = join(mkdtempSync(join(tmpdir(), 'vpref-export-')), 'images');
  const bytes = Buffer.from('ffd8ffe0', 'hex');
  const images = [`data:image/jpeg;base64,${bytes.toString('base64')}`];
  const written = await run('trl', [{ images, ...pairOf }], { imagePath: imagePaths({ directory }) });
  const [path] = JSON.parse(written.lines[0]!).images;
  assert.ok(existsSync(path) && path.endsWith('.jpg'));
  assert.deepEqual(readFileSync(path), bytes);
  assert.match(
    (await run('trl', [{ images, ...pairOf }])).errors[0]!,
    /^f:1: images\[0\]: expected a file path \(--image-dir/,
  );
  // The bytes say what it is: its name, parameters and line breaks do not matter.
  const png = readFileSync('fixtures/images/tiny.png').toString('base64').replace(/.{30}/g, '$&\n');
  const other = { images: [`data:image/jpg;name=x;base64,${png}`], ...pairOf };
  const named = JSON.parse((await run('trl', [other], { imagePath: imagePaths({ directory }) })).lines[0]!).images[0];
  assert.deepEqual([named.slice(-4), readFileSync(named)], ['.png', readFileSync('fixtures/images/tiny.png')]);
  const svg = { images: ['data:image/svg+xml;base64,AAAA'], ...pairOf };
  assert.match(
    (await run('trl', [svg], { imagePath: imagePaths({ directory }) })).errors[0]!,
    /expected a JPEG, PNG, WebP, GIF, TIFF or AVIF image, got data:image\/svg\+xml/,
  );
});

test('texts that a format reads as media, misplaced images and colliding names are errors', async () => {
  const cases: [string, Partial<VprefRecord>, RegExp][] = [
    [
      'llama-factory',
      { chosen: 'the <video> tag', rejected: 'r' },
      /^f:1: chosen: expected text without <video>, which .* a video slot/,
    ],
    ['ms-swift', { ...pairOf, prompt: 'an <audio> tag' }, /^f:1: prompt\[0\]: expected text without <audio>/],
    ['llava', { response: 'r', prompt: '<video>\nwhat?' }, /^f:1: prompt\[0\]: expected text without <video>/],
    [
      'seva',
      { ...image, chosen: '<img>b.png</img>', rejected: 'r' },
      /^f:1: chosen: expected text without <img>b.png<\/img>/,
    ],
    ['seva', { ...image, ...pairOf, prompt: 'what?\n<image>' }, /^f:1: prompt: expected the image before the question/],
    [
      'ms-swift',
      { ...pairOf, prompt: dialogue.slice(0, 3), ...image },
      /^f:1: prompt: expected a user turn at its end/,
    ],
    ['trl', { ...image, ...pairOf, prompt: [{ role: 'system', content: '<image>' }] }, /images in user turns only/],
    [
      'llama-factory',
      {
        ...pairOf,
        prompt: [
          { role: 'system', content: '' },
          { role: 'user', content: 'q' },
        ],
      },
      /a system text/,
    ],
  ];
  for (const [format, record, message] of cases) assert.match((await failure(format, record))!, message);
  const html = await one('trl', { ...image, chosen: 'the <video> tag', rejected: '<image>' });
  assert.deepEqual([html.chosen[0].content, html.rejected[0].content], [text('the <video> tag'), text('<image>')]);
  const named = await run('seva', [
    { ...image, ...pairOf },
    { ...pairOf, images: ['e/a.jpg'] },
    { ...image, ...pairOf },
  ]);
  assert.deepEqual(named.errors, ['f:2: images[0]: expected a file name of its own (d/a.jpg has it too), got e/a.jpg']);
});

test('an empty answer is an answer', async () => {
  for (const format of ['trl', 'llama-factory', 'ms-swift', 'llava'])
    for (const pair of [
      { chosen: '', rejected: 'r' },
      { chosen: 'c', rejected: '' },
      { chosen: 'c', rejected: [''] },
    ])
      assert.equal((await run(format, [pair])).counts.rows, 1);
});

test('fields that a format cannot hold are counted', async () => {
  const record = {
    ...image,
    ...pairOf,
    meta: { a: 1 },
    weight: 2,
    rejected_images: [['x.png'], ['y.png']],
    ref_chosen_logps: -1,
  };
  const leftOut = async (format: string) => Object.fromEntries((await run(format, [record, record])).counts.leftOut);
  assert.deepEqual(await leftOut('trl'), { meta: 2, weight: 2, rejected_images: 2, ref_chosen_logps: 2 });
  assert.deepEqual(await leftOut('ms-swift'), {
    id: 2,
    meta: 2,
    weight: 2,
    ref_chosen_logps: 2,
    'rejected_images after the first set': 2,
  });
  assert.deepEqual(Object.keys(await leftOut('llava')), [
    'rejected',
    'meta',
    'weight',
    'rejected_images',
    'ref_chosen_logps',
  ]);
});

test('data: URIs are what their bytes say', async () => {
  const directory = join(mkdtempSync(join(tmpdir(), 'vpref-export-')), 'images');
  const write = (uri: string) => run('trl', [{ images: [uri], ...pairOf }], { imagePath: imagePaths({ directory }) });
  const uri = (hex: string, head: string) => `data:${head};base64,${Buffer.from(hex, 'hex').toString('base64')}`;
  const kinds: [string, string, string][] = [
    ['ffd8ffe000104a464946', 'image/jpg', 'jpg'],
    ['ffd8ffe000104a464946', 'image/png;name=a.png', 'jpg'],
    ['89504e470d0a1a0a0000', 'application/octet-stream', 'png'],
    ['474946383961', 'IMAGE/GIF', 'gif'],
    ['52494646000000005745425056503820', 'image/webp;charset=utf-8', 'webp'],
  ];
  for (const [hex, head, extension] of kinds) {
    const { lines, errors } = await write(uri(hex, head));
    assert.deepEqual(errors, []);
    assert.ok(JSON.parse(lines[0]!).images[0].endsWith(`.${extension}`));
  }
  const whole = uri('89504e470d0a1a0a0000', 'image/png');
  const broken = `${whole.slice(0, 30)}\n${whole.slice(30)}`;
  assert.deepEqual((await write(broken)).errors, []);
  assert.match(
    (await write(uri('3c737667', 'image/png'))).errors[0]!,
    /^f:1: images\[0\]: expected a JPEG, PNG, .*, got /,
  );
});

test('floats of a row keep a decimal point', () => {
  const values = { a: 1, x: new Float(-7), y: new Float(0.5), z: new Float(1e21), w: new Float(-0.0) };
  assert.equal(formatRow(values), '{"a":1,"x":-7.0,"y":0.5,"z":1e+21,"w":0.0}');
  assert.equal(formatRow({ x: new Float(2) }), '{"x":2.0}');
  assert.equal(formatRow({ a: [1] }), '{"a":[1]}');
});
