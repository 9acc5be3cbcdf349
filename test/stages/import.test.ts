// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { RowResult } from '../../src/flow/stage.ts';
import { createPixelPool } from '../../src/pixels/pool.ts';
import { formatLine } from '../../src/records/lines.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { type ImportOptions, importFiles, newImportCounts } from '../../src/stages/import/index.ts';

const llavaFile = readFileSync('fixtures/records/import/llava.json', 'utf8');

interface Wanted extends Partial<Omit<ImportOptions, 'selection'>> {
  selection?: Partial<ImportOptions['selection']>;
}

async function run(format: string, text: string | object[], { selection, ...rest }: Wanted = {}) {
  const bytes = Buffer.from(typeof text === 'string' ? text : text.map((row) => JSON.stringify(row)).join('\n'));
  const options: ImportOptions = {
    format,
    cleaning: 'none',
    imageRoots: [],
    ...rest,
    selection: { limits: [], limitDialogues: false, seed: 0, ...selection },
  };
  const counts = newImportCounts();
  const results: RowResult[] = [];
  const open = async function* () {
    yield bytes;
  };
  for await (const result of importFiles([{ source: 'f', open }], options, counts)) results.push(result);
  const records = results.flatMap((result) => result.records);
  const errors = results.flatMap((result) => (result.error ? [result.error.message] : []));
  return { records, errors, counts, results };
}

const one = async (format: string, row: object, wanted?: Wanted): Promise<VprefRecord> => {
  const { records, errors } = await run(format, [row], wanted);
  assert.deepEqual(errors, []);
  assert.equal(records.length, 1);
  return records[0]!;
};
const failure = async (format: string, row: object) => (await run(format, [row])).errors[0];

test('llava: whole dialogues, unique ids, text that looks like an image mark stays text', async () => {
  const { records } = await run('llava', llavaFile);
  assert.deepEqual(
    records.map(({ id, source, images }) => [id, source, images]),
    [
      ['t1', 'llava/textvqa', ['textvqa/train_images/a1.jpg']],
      ['o1', 'llava/ocr_vqa', ['ocr_vqa/images/b1.jpg']],
      ['o1~2', 'llava/ocr_vqa', ['ocr_vqa/images/b2.jpg']],
      ['x1', 'llava/text', undefined],
    ],
  );
  assert.equal(records[0]!.reference, 'A red stop sign at a crossing.');
  assert.deepEqual(records[2]!.prompt, [
    { role: 'user', content: 'What type of book is this?\n<image>' },
    { role: 'assistant', content: 'Travel' },
    { role: 'user', content: 'Who is the author?' },
  ]);
  assert.equal(records[2]!.reference, 'Bo "Big" Chan \\');
  assert.deepEqual(records[3], {
    id: 'x1',
    prompt: [{ role: 'user', content: [{ type: 'text', text: 'Write <image> in HTML.' }] }],
    reference: '<img>',
    source: 'llava/text',
    meta: { model: 'gpt-4' },
  });
});

test('--turns takes single questions, cleaned as in SeVa, each with its response', async () => {
  const seva: Wanted = { cleaning: 'seva', selection: { turns: 'all', sources: ['ocr_vqa', 'textvqa'] } };
  const { records } = await run('llava', llavaFile, seva);
  assert.deepEqual(
    records.map(({ id, group, prompt, reference }) => [id, group, prompt, reference]),
    [
      [
        't1',
        undefined,
        'Provide a one-sentence caption for the provided image.\nReference OCR token: STOP, 12',
        'A red stop sign at a crossing.',
      ],
      ['o1#0', 'o1', 'Who wrote this book?', 'Ann Lee'],
      ['o1#1', 'o1', 'What is the title\nof this book?', 'Rivers'],
      ['o1#2', 'o1', 'Is this a cookbook?', 'No'],
      ['o1~2#0', 'o1~2', 'What type of book is this?', 'Travel'],
      ['o1~2#1', 'o1~2', 'Who is the author?', 'Bo "Big" Chan \\'],
    ],
  );
  const faithful = await run('llava', llavaFile, { ...seva, cleaning: 'seva-faithful' });
  const prompts = faithful.records.map(({ prompt }) => prompt);
  assert.equal(prompts[2], 'What is the titleof this book?');
  assert.equal(prompts[0], records[0]!.prompt);
});

test('turns are drawn from seed and id only', async () => {
  const rows = Array.from({ length: 40 }, (_, row) => ({
    id: `d${row}`,
    conversations: Array.from({ length: 10 }, (_, turn) => [
      { from: 'human', value: `q${turn}` },
      { from: 'gpt', value: `a${turn}` },
    ]).flat(),
  }));
  const draw = async (list: object[], seed: number) => {
    const { records } = await run('llava', list, { selection: { turns: 2, seed } });
    return records.map(({ id, prompt, reference }) => [id, prompt, reference].join());
  };
  const straight = await draw(rows, 1);
  assert.equal(straight.length, 80);
  assert.deepEqual((await draw([...rows].reverse(), 1)).sort(), [...straight].sort());
  assert.notDeepEqual(await draw(rows, 2), straight);
  for (const row of straight) assert.match(row, /^d\d+#(\d),q\1,a\1$/);
});

test('limits leave exactly the given numbers, independent of the order of the file', async () => {
  const rows = Array.from({ length: 200 }, (_, row) => ({
    id: `r${row}`,
    image: `${row % 2 ? 'odd' : 'even'}/${row}.jpg`,
    conversations: [0, 1, 2].flatMap((turn) => [
      { from: 'human', value: `q${turn}` },
      { from: 'gpt', value: 'a' },
    ]),
  }));
  const limits = [
    { source: 'odd', count: 17 },
    { source: 'even', count: 5 },
  ];
  const ids = async (list: object[], selection: Wanted['selection']) =>
    (await run('llava', list, { selection: { seed: 3, ...selection } })).records.map(({ id }) => id);
  const drawn = await ids(rows, { limits, turns: 2 });
  const isOdd = (id: string) => Number(/\d+/.exec(id)![0]) % 2 === 1;
  assert.equal(drawn.filter(isOdd).length, 17);
  assert.equal(drawn.length, 22);
  const places = drawn.map((id) => Number(/\d+/.exec(id)![0]));
  assert.deepEqual(
    places,
    [...places].sort((a, b) => a - b),
  );
  assert.deepEqual((await ids([...rows].reverse(), { limits, turns: 2 })).sort(), [...drawn].sort());
  assert.equal((await ids(rows, { limits: [...limits, { count: 9 }], turns: 2 })).length, 9);
  assert.equal((await ids(rows, { limits: [{ count: 1000 }] })).length, 200);
  assert.equal((await ids(rows, { limits: [{ count: 0 }] })).length, 0);
  assert.equal((await ids(rows, { limits: [{ source: 'odd', count: 3 }] })).length, 103);
  const dialogues = await ids(rows, { limits: [{ count: 4 }], limitDialogues: true, turns: 2 });
  assert.equal(dialogues.length, 8);
  assert.equal(new Set(dialogues.map((id) => id.split('#')[0])).size, 4);
});

test('a draw of 50 in 200 is uniform: every row comes up about as often', async () => {
  const rows = Array.from({ length: 200 }, (_, row) => ({ question: 'q', answer: '', image_id: row }));
  const counts = new Array<number>(200).fill(0);
  for (let seed = 0; seed < 200; seed++) {
    const { records } = await run('lrv', rows, { selection: { seed, limits: [{ count: 50 }] } });
    assert.equal(records.length, 50);
    for (const { images } of records) counts[Number.parseInt(images![0]!, 10)]! += 1;
  }
  // Chi-square of 200 counts with mean 50 (199 degrees of freedom; draws without replacement only lower it).
  const chiSquare = counts.reduce((sum, count) => sum + (count - 50) ** 2 / (50 * 0.75), 0);
  assert.ok(chiSquare < 290, `chi-square ${chiSquare}`);
});

test('image roots: one for all, one for a source', async () => {
  const imageRoots = [{ directory: 'data' }, { source: 'ocr_vqa', directory: '/big/disk' }];
  const { records } = await run('llava', llavaFile, { imageRoots });
  assert.deepEqual(
    records.map(({ images }) => images?.[0]),
    [
      'data/textvqa/train_images/a1.jpg',
      '/big/disk/ocr_vqa/images/b1.jpg',
      '/big/disk/ocr_vqa/images/b2.jpg',
      undefined,
    ],
  );
});

test('a path that leaves its image root is refused, links below it are followed', async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'vpref-import-')));
  mkdirSync(join(folder, 'disk'));
  symlinkSync(join(folder, 'disk'), join(folder, 'root'));
  symlinkSync('/somewhere', join(folder, 'root/away'));
  const root = join(folder, 'root');
  const imageRoots = [{ directory: root }, { source: 'ocr_vqa', directory: 'ocr' }];
  const read = (image: string) => run('llava', [{ id: 1, image, conversations: turns }], { imageRoots });
  const turns = [
    { from: 'human', value: '<image>\nq' },
    { from: 'gpt', value: 'a' },
  ];
  for (const [image, found] of [
    ['a/../b.jpg', join(root, 'b.jpg')],
    ['..b.jpg', join(root, '..b.jpg')],
    ['away/b.jpg', join(root, 'away/b.jpg')],
    [join(root, 'b.jpg'), join(root, 'b.jpg')],
    [join(folder, 'disk/b.jpg'), join(folder, 'disk/b.jpg')],
    ['ocr_vqa/b.jpg', 'ocr/ocr_vqa/b.jpg'],
  ] as const)
    assert.deepEqual((await read(image)).records[0]?.images, [found], image);
  for (const image of [
    '../b.jpg',
    'a/../../b.jpg',
    '..',
    '/etc/b.jpg',
    `${root}/../b.jpg`,
    `${root}x/b.jpg`,
    'ocr_vqa/../../b.jpg',
  ]) {
    const { records, errors } = await read(image);
    assert.equal(records.length, 0, image);
    const where = image.startsWith('ocr_vqa') ? 'ocr' : root;
    const expected = `image: expected a path below ${where} (--image-root), got ${JSON.stringify(image)}`;
    assert.ok(errors[0]!.replace('images[0]', 'image').endsWith(expected), errors[0]);
  }
});

test('--check-images counts missing, empty and invalid images by source, and continues', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'vpref-import-'));
  writeFileSync(join(directory, '1.jpg'), readFileSync('fixtures/images/photo.jpg'));
  writeFileSync(join(directory, '2.jpg'), '');
  writeFileSync(join(directory, '3.jpg'), '<html>not found');
  const rows = [1, 2, 3, 4].map((id) => ({ image_id: id, question: 'q', answer: 'a' }));
  const { records, errors, counts, results } = await run('lrv', rows, {
    createPool: () => createPixelPool(1),
    imageRoots: [{ directory }],
  });
  assert.deepEqual(
    records.map(({ id }) => id),
    ['lrv-1'],
  );
  assert.deepEqual(
    errors.map((message) => message.replace(directory, '')),
    [
      'f:2: images[0]: expected a JPEG, PNG, WebP, GIF, TIFF or AVIF image, got /2.jpg: an empty file',
      'f:3: images[0]: expected a JPEG, PNG, WebP, GIF, TIFF or AVIF image, got /3.jpg: an HTML page',
      'f:4: images[0]: expected an image file, got /4.jpg: no such file',
    ],
  );
  assert.deepEqual([...counts.badImages], [['lrv', 3]]);
  assert.equal(results[1]!.row.record.prompt, 'q');
});

test('lrv, seva: fields by their names, the rest under meta', async () => {
  assert.deepEqual(await one('lrv', { image_id: '2382746', question: 'Is it?', answer: 'No.', task: 'negative' }), {
    id: 'lrv-1',
    images: ['2382746.jpg'],
    prompt: 'Is it?',
    reference: 'No.',
    source: 'lrv',
    meta: { task: 'negative' },
  });
  assert.deepEqual(await one('seva', { image_id: 'a.jpg', question: 'q', chosen: 'c', reject: 'r' }), {
    id: 'seva-1',
    images: ['a.jpg'],
    prompt: 'q',
    source: 'seva',
    chosen: 'c',
    rejected: 'r',
    pair: { rule: 'imported' },
  });
});

test('scigraphqa: the first pair unless turns are asked for; caption and abstract are for a judge', async () => {
  const row = {
    id: 'p1',
    image_file: '1801.01974v2-Figure10-1.png',
    caption: 'Loss.',
    title: 'T',
    abstract: '',
    q_a_pairs: [
      ['q1', 'a1'],
      ['q2', 'a2'],
    ],
    conversations: [],
  };
  assert.deepEqual(await one('scigraphqa', row), {
    id: 'p1',
    images: ['1801.01974v2-Figure10-1.png'],
    prompt: 'q1',
    reference: 'a1',
    source: 'scigraphqa',
    context: { caption: 'Loss.', title: 'T' },
  });
  const { records } = await run('scigraphqa', [row], { selection: { turns: 'all' } });
  assert.deepEqual(
    records.map(({ id, group, prompt }) => [id, group, prompt]),
    [
      ['p1#0', 'p1', 'q1'],
      ['p1#1', 'p1', 'q2'],
    ],
  );
  const { q_a_pairs, ...rest } = row;
  const conversations = [
    { from: 'human', value: 'q' },
    { from: 'gpt', value: 'a' },
  ];
  assert.equal((await one('scigraphqa', { ...rest, conversations })).reference, 'a');
});

test('sharegpt: LLaMA-Factory and ms-swift rows, with and without preferences', async () => {
  const conversations = [{ from: 'human', value: '<image>q' }];
  const gpt = (value: string) => ({ from: 'gpt', value });
  assert.deepEqual(
    await one('sharegpt', { conversations, chosen: gpt('c'), rejected: gpt('r'), images: ['d/1.jpg'] }),
    {
      id: 'sharegpt-1',
      images: ['d/1.jpg'],
      prompt: '<image>q',
      source: 'sharegpt/d',
      chosen: 'c',
      rejected: 'r',
      pair: { rule: 'imported' },
    },
  );
  const messages = [
    { role: 'system', content: 's' },
    { role: 'user', content: 'q' },
    { role: 'assistant', content: 'c' },
  ];
  const swift = await one('sharegpt', { messages, rejected_response: 'r', channel: 'x' });
  assert.deepEqual(
    [swift.prompt, swift.chosen, swift.rejected, swift.meta],
    [
      [
        { role: 'system', content: 's' },
        { role: 'user', content: 'q' },
      ],
      'c',
      'r',
      { channel: 'x' },
    ],
  );
  const kto = await one('sharegpt', { conversations: [...conversations, gpt('a')], kto_tag: false, images: 'i.jpg' });
  assert.deepEqual([kto.response, kto.label, kto.reference], ['a', false, undefined]);
  assert.equal((await one('sharegpt', { system: 'be brief', messages: messages.slice(1) })).reference, 'c');
});

test('trl: every form of row', async () => {
  const user = (content: unknown) => ({ role: 'user', content });
  const assistant = (content: unknown) => ({ role: 'assistant', content });
  const parts = [
    { type: 'image', text: null },
    { type: 'text', text: 'q' },
  ];
  const vision = await one('trl', {
    images: [{ path: 'd/1.jpg', bytes: null }],
    prompt: [user(parts)],
    chosen: [assistant([{ type: 'text', text: 'c' }])],
    rejected: [assistant('r')],
    ref_chosen_logps: -3.5,
  });
  assert.deepEqual(vision.prompt, [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'q' }] }]);
  assert.deepEqual(
    [vision.images, vision.chosen, vision.rejected, vision.ref_chosen_logps],
    [['d/1.jpg'], 'c', 'r', -3.5],
  );
  const implicit = await one('trl', { chosen: [user('q'), assistant('c')], rejected: [user('q'), assistant('r')] });
  assert.deepEqual([implicit.prompt, implicit.chosen, implicit.rejected], ['q', 'c', 'r']);
  const unpaired = await one('trl', { prompt: 'q', completion: 'a', label: true });
  assert.deepEqual([unpaired.prompt, unpaired.response, unpaired.label], ['q', 'a', true]);
  const sft = await one('trl', { messages: [user('q'), assistant('a')] });
  assert.deepEqual([sft.prompt, sft.response], [[user('q')], 'a']);
  const inline = await one('trl', { image: { bytes: '/9j/4AAQ' }, prompt: 'q' });
  assert.deepEqual(inline.images, ['data:image/jpeg;base64,/9j/4AAQ']);
});

test('helpsteer: rows of one prompt become one graded record', async () => {
  const row = (prompt: string, response: string, grade: number) => ({
    prompt,
    response,
    helpfulness: grade,
    correctness: grade,
    coherence: 4,
    complexity: 1,
    verbosity: 2,
  });
  const { records, errors } = await run('helpsteer', [row('p', 'a', 4), row('p', 'b', 1), row('q', 'c', 0)]);
  assert.deepEqual(errors, []);
  assert.deepEqual(
    records.map(({ prompt, responses }) => [prompt, responses!.map(({ text }) => text)]),
    [
      ['p', ['a', 'b']],
      ['q', ['c']],
    ],
  );
  assert.deepEqual(records[0]!.annotations, [
    {
      guide: 'helpsteer',
      judge: 'human',
      run: 0,
      outcome: 'ok',
      scores: [
        { helpfulness: 4, correctness: 4, coherence: 4, complexity: 1, verbosity: 2 },
        { helpfulness: 1, correctness: 1, coherence: 4, complexity: 1, verbosity: 2 },
      ],
    },
  ]);
  const bad = await run('helpsteer', [row('p', 'a', 4), { ...row('p', 'b', 1), coherence: 'high' }]);
  assert.deepEqual(bad.errors, ['f:2: coherence: expected a number, got string "high"']);
});

test('bad items are errors with place, expected and actual value; the others are imported', async () => {
  const human = { from: 'human', value: 'q' };
  const cases: [string, object, string][] = [
    ['llava', { id: 'a' }, 'f:1: conversations: expected an array of turns {from, value}, got nothing'],
    ['llava', { conversations: [] }, 'f:1: conversations: expected at least one human turn, got none'],
    ['llava', { conversations: [human, human] }, 'f:1: conversations[1].from: expected "gpt", got "human"'],
    [
      'llava',
      { conversations: [{ from: 'user', value: 'q' }] },
      'f:1: conversations[0].from: expected "human", "gpt" or "system", got string "user"',
    ],
    [
      'llava',
      { image: 3, conversations: [human] },
      'f:1: image: expected a path, {path} or {bytes: base64}, got number 3',
    ],
    [
      'llava',
      { image: 'http://a/b.jpg', conversations: [human] },
      'f:1: image: expected a path or data: URI (download it first), got a http address',
    ],
    [
      'llava',
      { image: 'a.jpg', conversations: [{ from: 'human', value: '<image><image>q' }] },
      'f:1: prompt: expected 1 <image> slot or none, got 2',
    ],
    ['lrv', { image_id: 1, answer: '' }, 'f:1: question: expected a non-empty string, got nothing'],
    [
      'scigraphqa',
      { image_file: 'a.png', q_a_pairs: [] },
      'f:1: q_a_pairs: expected at least one pair [question, answer], got none',
    ],
    [
      'scigraphqa',
      { image_file: 'a.png', q_a_pairs: [['q']] },
      'f:1: q_a_pairs[0]: expected a pair [question, answer], got ["q"]',
    ],
    [
      'seva',
      { image_id: 'a', question: 'q', chosen: 'c', rejected: 'r' },
      'f:1: reject: expected a string, got nothing',
    ],
    [
      'sharegpt',
      { conversations: 'q' },
      'f:1: conversations: expected an array of turns {from, value} or {role, content}, got string "q"',
    ],
    [
      'sharegpt',
      { conversations: [{ from: 'tool', value: 'q' }] },
      'f:1: conversations[0].from: expected human, gpt or system, got string "tool"',
    ],
    [
      'sharegpt',
      { messages: [human], rejected_response: 'r' },
      'f:1: messages: expected the chosen response as last message, got none',
    ],
    [
      'trl',
      { chosen: 'c', rejected: 'r' },
      'f:1: prompt: expected a prompt (or chosen and rejected as messages that share one), got nothing',
    ],
    [
      'trl',
      { prompt: 'q', chosen: [{ role: 'user', content: 'c' }], rejected: 'r' },
      'f:1: chosen: expected one assistant message after the prompt, got 1 message, first of user',
    ],
    ['trl', { prompt: 'q', completion: 'c', label: 2 }, 'f:1: label: expected true or false (or 1 or 0), got number 2'],
    ['trl', { prompt: 'q', images: [{}] }, 'f:1: images[0]: expected a path, {path} or {bytes: base64}, got an object'],
  ];
  for (const [format, row, expected] of cases) assert.equal(await failure(format, row), expected);
  const mixed = await run(
    'lrv',
    '[{"image_id":1,"question":"q","answer":"a"},{"image_id":1},7,{"image_id":2,"question":"q","answer":"a"}]',
  );
  assert.deepEqual(
    mixed.records.map(({ id }) => id),
    ['lrv-1', 'lrv-4'],
  );
  assert.deepEqual(mixed.errors, [
    'f:1: [1].question: expected a non-empty string, got nothing',
    'f:1: [2]: expected an object, got number 7',
  ]);
});

test('ids and numbers keep their digits; keys of any name stay; a repeated key is refused', async () => {
  const conversations = '[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]';
  const rows = [
    '"id":675127116845989801,"__proto__":{"a":1.0},"constructor":1e5',
    '"id":675127116845989802,"n":[9007199254740993]',
    '"id":1,"n":1,"n":2',
  ];
  const { records, errors } = await run(
    'llava',
    rows.map((row) => `{${row},"conversations":${conversations}}`).join('\n'),
  );
  assert.deepEqual(
    records.map(({ id, meta }) => [id, formatLine(meta!)]),
    [
      ['675127116845989801', '{"__proto__":{"a":1.0},"constructor":1e5}'],
      ['675127116845989802', '{"n":[9007199254740993]}'],
    ],
  );
  assert.deepEqual(errors, ['f:3: record: expected each key once, got "n" twice']);
});

test('Parquet files are read by row group, as the same rows in JSON are', async () => {
  const path = 'fixtures/records/import/scigraphqa.parquet';
  const options: ImportOptions = {
    format: 'scigraphqa',
    cleaning: 'none',
    imageRoots: [],
    selection: { limits: [], limitDialogues: false, seed: 0 },
  };
  const read = async (source: string) => {
    const records: VprefRecord[] = [];
    const open = () => createReadStream(source);
    const onDisk = async () => source;
    for await (const result of importFiles([{ source, open, onDisk }], options, newImportCounts()))
      records.push(...result.records);
    return records;
  };
  const records = await read(path);
  assert.deepEqual(
    records.map(({ id }) => id),
    ['p0', 'p1', 'p2', 'p3', 'p4'],
  );
  const { records: same } = await run('scigraphqa', [
    {
      id: 'p3',
      image_file: '183.png',
      caption: 'c',
      title: 't',
      abstract: 'a',
      q_a_pairs: [['q0', 'a0']],
      score: 3,
      conversations: null,
    },
  ]);
  assert.deepEqual(records[3], same[0]);
  const other = join(mkdtempSync(join(tmpdir(), 'vpref-parquet-')), 'x.parquet');
  writeFileSync(other, 'PAR1 not really');
  await assert.rejects(read(other), /x\.parquet: cannot be read as Parquet/);
});
