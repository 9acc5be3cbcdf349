// SPDX-License-Identifier: Apache-2.0
// Every scorer on files in the official formats, against what scripts/goldens/eval_sets.py makes of them by the official
// rules.
// Covers src/python/pandas.ts src/stages/eval/open.ts src/benchmarks/scoring/scorer.ts src/benchmarks/seed-bench/score.ts src/benchmarks/alpaca-eval/length-controlled.ts src/benchmarks/scoring/judged.ts
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fitL1 } from '../../src/benchmarks/alpaca-eval/length-controlled.ts';
import { isSwitched } from '../../src/benchmarks/alpaca-eval/score.ts';
import type { ScoreRow } from '../../src/benchmarks/scoring/score-row.ts';
import { evaluate, fixture } from '../support/evaluate.ts';

const golden = JSON.parse(readFileSync(fixture('golden/eval/scores.json'), 'utf8'));
const set = (path: string) => fixture(`eval/${path}`);

function rowOf(rows: ScoreRow[], split: string, model?: string): ScoreRow {
  const row = rows.find((row) => row.split === split && (model === undefined || row.model === model));
  assert.ok(row, `a row of ${split}`);
  return row;
}

/** The figures agree to within rounding of the last bits: sums are taken in another order. */
function assertFigures(row: ScoreRow, expected: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(expected)) {
    const figures = Array.isArray(value) ? value : [value];
    const got = Array.isArray(value) ? (row[name] as number[]) : [row[name]];
    figures.forEach((figure, k) => {
      const difference = Math.abs(Number(got[k]) - figure);
      assert.ok(difference <= 1e-9, `${row.split} ${name}: expected ${figure}, got ${got[k]}`);
    });
  }
}

describe('pope', () => {
  const labels = ['random', 'popular', 'adversarial'].map((split) => set(`pope/coco_pope_${split}.json`));
  const check = (rows: ScoreRow[]) => {
    for (const split of ['random', 'popular', 'adversarial', 'all']) {
      assertFigures(rowOf(rows, split), golden.pope[split]);
      assert.equal(rowOf(rows, split).score, 100 * (rowOf(rows, split).f1 as number));
    }
  };
  test('official answer files, paired by position and checked by question', async () => {
    const answers = ['random', 'popular', 'adversarial'].map((split) => set(`pope/answers_${split}.json`));
    check((await evaluate('pope', answers, labels)).rows);
  });
  test("LLaVA's answers with its question file, whose ids are other ids", async () => {
    const { rows } = await evaluate('pope', [set('pope/llava-v1.5-7b.jsonl')], labels, {
      questions: [set('pope/llava_pope_test.jsonl')],
    });
    check(rows);
    assert.equal(rows[0]!.model, 'llava-v1.5-7b');
    assert.equal(rowOf(rows, 'all').clusters, 10);
  });
  test('the label file of another split does not go unnoticed', async () => {
    const swapped = [set('pope/coco_pope_adversarial.json')];
    await assert.rejects(
      evaluate('pope', [set('pope/answers_random.json')], swapped),
      /answers_random\.json:2: question: expected "Is there .*" \(.*coco_pope_adversarial\.json:2\), got string/,
    );
  });
});

describe('mmvet', () => {
  test('three judge runs: capabilities, combinations, total, spread', async () => {
    const { rows } = await evaluate(
      'mmvet',
      [set('mmvet/model_gpt-4-0613-grade-3runs.json')],
      [set('mmvet/mm-vet.json')],
    );
    for (const [split, figures] of Object.entries(golden.mmvet))
      assertFigures(rowOf(rows, split), figures as object as never);
    assert.equal(rows.length, Object.keys(golden.mmvet).length);
  });
  test('failed calls: excluded, or counted as 0 with --include-failed', async () => {
    const files: [string[], string[]] = [[set('mmvet/failed-grade-3runs.json')], [set('mmvet/mm-vet.json')]];
    const { rows, failed, notes } = await evaluate('mmvet', ...files);
    assert.equal(failed, 2);
    assert.equal(rowOf(rows, 'all').failed, 2);
    assert.match(notes.join(), /2 failed judge requests are not scored/);
    assert.ok(rowOf(rows, 'all').score! > golden.mmvet_with_failed.all.score);
    const included = await evaluate('mmvet', ...files, { includeFailed: true });
    for (const [split, figures] of Object.entries(golden.mmvet_with_failed))
      assertFigures(rowOf(included.rows, split), figures as never);
  });
});

describe('llava-bench', () => {
  const files: [string[], string[]] = [[set('llava-bench/review.jsonl')], [set('llava-bench/questions.jsonl')]];
  test('failed reviews left out', async () => {
    const { rows, failed } = await evaluate('llava-bench', ...files);
    assert.ok(failed > 0);
    for (const split of ['conv', 'detail', 'complex', 'all'])
      assertFigures(rowOf(rows, split), golden['llava-bench'][split]);
    assert.ok(rowOf(rows, 'all').clusters! < rowOf(rows, 'all').n, 'clustered by image');
  });
  test('failed reviews in the means, as the official script has them', async () => {
    const { rows } = await evaluate('llava-bench', ...files, { includeFailed: true });
    for (const split of ['conv', 'detail', 'complex', 'all'])
      assertFigures(rowOf(rows, split), golden['llava-bench_with_failed'][split]);
  });
  test('strict reads "8, 9" too', async () => {
    const { failed } = await evaluate('llava-bench', ...files, { parse: 'strict' });
    assert.equal(failed, 0);
  });
});

describe('mmbench', () => {
  for (const answers of ['answers.jsonl', 'upload.xlsx'])
    test(`circular and plain, from ${answers}`, async () => {
      const { rows } = await evaluate('mmbench', [set(`mmbench/${answers}`)], [set('mmbench/mmbench_dev.tsv')]);
      const { all, plain, rotation_accuracy, ...abilities } = golden.mmbench;
      assertFigures(rowOf(rows, 'all'), { score: all, plain, rotation_accuracy });
      for (const [ability, score] of Object.entries(abilities)) assertFigures(rowOf(rows, ability), { score });
      assert.equal(rowOf(rows, 'coarse_perception').ability, 'CP');
    });
});

describe('seed-bench', () => {
  test('types, image, video, all', async () => {
    const { rows } = await evaluate(
      'seed-bench',
      [set('seed-bench/answers.jsonl')],
      [set('seed-bench/SEED-Bench.json')],
    );
    for (const [split, score] of Object.entries(golden['seed-bench'])) assertFigures(rowOf(rows, split), { score });
  });
  test('answers to the image part alone are no gap', async () => {
    const { rows, notes } = await evaluate(
      'seed-bench',
      [set('seed-bench/image-answers.jsonl')],
      [set('seed-bench/SEED-Bench.json')],
    );
    assertFigures(rowOf(rows, 'image'), { score: golden['seed-bench'].image });
    assert.equal(rowOf(rows, 'all').score, rowOf(rows, 'image').score);
    assert.match(notes.join(), /no answer to any of the 8 video questions/);
  });
});

describe('shr', () => {
  for (const file of ['judgement.json', 'raw.json'])
    test(`ratios, lengths, repetition, from ${file}`, async () => {
      const { rows } = await evaluate('shr', [set(`shr/${file}`)], [set('shr/val_images_final.json')]);
      assertFigures(rows[0]!, golden.shr);
      assertFigures(rows[0]!, { score: 100 * golden.shr.hal_sents_ratio });
      assert.equal(rows[0]!.unparsed, 1);
    });
});

test('scienceqa: all, image, subjects, grades', async () => {
  for (const labels of [['problems.json'], ['problems.json', 'pid_splits.json']]) {
    const paths = labels.map((name) => set(`scienceqa/${name}`));
    const { rows } = await evaluate('scienceqa', [set('scienceqa/answers.jsonl')], paths);
    for (const [split, score] of Object.entries(golden.scienceqa)) assertFigures(rowOf(rows, split), { score });
  }
});

describe('gqa', () => {
  for (const answers of ['answers.jsonl', 'predictions.json'])
    test(`all printed lines, from ${answers}`, async () => {
      const labels = ['testdev_balanced_questions.json', 'testdev_choices.json'].map((name) => set(`gqa/${name}`));
      const { rows } = await evaluate('gqa', [set(`gqa/${answers}`)], labels);
      const { all, consistency, distribution, validity, plausibility, ...parts } = golden.gqa;
      assertFigures(rowOf(rows, 'all'), { score: all, consistency, distribution, validity, plausibility });
      for (const [split, score] of Object.entries(parts)) assertFigures(rowOf(rows, split), { score });
    });
});

describe('mt-bench', () => {
  test('turns, categories, all, by model; -1 dropped', async () => {
    const { rows, failed } = await evaluate(
      'mt-bench',
      [set('mt-bench/gpt-4_single.jsonl')],
      [set('mt-bench/question.jsonl')],
    );
    for (const [model, { n, ...figures }] of Object.entries<Record<string, number>>(golden['mt-bench'])) {
      for (const [split, score] of Object.entries(figures)) assertFigures(rowOf(rows, split, model), { score });
      assert.equal(rowOf(rows, 'all', model).n, n);
    }
    assert.equal(failed, 64 - golden['mt-bench']['llava-13b'].n - golden['mt-bench']['vicuna-13b'].n);
  });
  test('pairs over two games', async () => {
    const { rows, failed } = await evaluate('mt-bench', [set('mt-bench/gpt-4_pair.jsonl')]);
    for (const [model, figures] of Object.entries<Record<string, number>>(golden['mt-bench_pair'])) {
      assertFigures(rowOf(rows, 'all', model), figures);
      assertFigures(rowOf(rows, 'all', model), { score: 100 * figures.win_rate_adjusted! });
    }
    assert.equal(failed, 2);
  });
});

describe('alpaca-eval', () => {
  test('win rate, standard error, counts, length', async () => {
    const { rows, failed } = await evaluate(
      'alpaca-eval',
      [set('alpaca-eval/annotations.json')],
      [set('alpaca-eval/alpaca_eval.json')],
    );
    const { win_rate, ...figures } = golden['alpaca-eval'];
    assertFigures(rowOf(rows, 'all'), { score: win_rate, ...figures });
    assert.equal(failed, 60 - figures.n);
    assert.deepEqual(new Set(rows.map((row) => row.split)), new Set(['koala', 'vicuna', 'helpful_base', 'all']));
  });
  test("raw rankings are put back into order by CPython's draws", async () => {
    const { rows } = await evaluate('alpaca-eval', [set('alpaca-eval/raw-annotations.json')]);
    assertFigures(rowOf(rows, 'all'), { score: golden['alpaca-eval_ranked'] });
  });
  test('the order of stored official annotations', () => {
    assert.equal(isSwitched('How do I make escargot?'), true);
    assert.equal(isSwitched('How did US states get their names?'), true);
    assert.equal(isSwitched('What are the names of some famous actors that started their careers on Broadway?'), true);
  });
  test('length-controlled: the fit agrees with liblinear at each strength', async () => {
    const { Gamed, rows } = await lengthRows();
    for (const [strength, { weights }] of Object.entries<{ weights: number[] }>(golden['alpaca-eval_fits'])) {
      const fitted = fitL1([...Gamed, ...rows], Number(strength));
      weights.forEach((weight, k) => {
        assert.ok(Math.abs(fitted[k]! - weight) < 2e-3, `C ${strength}, weight ${k}: ${weight}, ${fitted[k]}`);
      });
    }
  });
  test('length-controlled: the figure of the cross-validated fit in the all row', async () => {
    const { rows } = await evaluate('alpaca-eval', [set('alpaca-eval/annotations.json')], [], {
      tables: [set('alpaca-eval/df_gamed.csv')],
    });
    const figure = rowOf(rows, 'all').length_controlled_win_rate as number;
    const { length_controlled } = golden['alpaca-eval_cross_validated'];
    assert.ok(Math.abs(figure - length_controlled) < 0.05, `${figure}, ${length_controlled}`);
  });
});

async function lengthRows() {
  const { parseEvalFile } = await import('../../src/benchmarks/scoring/file.ts');
  const { readGamed } = await import('../../src/benchmarks/alpaca-eval/length-controlled.ts');
  const path = set('alpaca-eval/df_gamed.csv');
  const { rows: Gamed, difficulty } = readGamed([await parseEvalFile(path, readFileSync(path))]);
  const annotations: { output_1: string; output_2: string; preference: number | null }[] = JSON.parse(
    readFileSync(set('alpaca-eval/annotations.json'), 'utf8'),
  );
  const differences = annotations.map(({ output_1, output_2 }) => [...output_1].length - [...output_2].length);
  const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length;
  const deviation = Math.sqrt(
    differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (differences.length - 1),
  );
  const rows = annotations.flatMap(({ preference }, index) => {
    const columns: [number, number, number] = [Math.tanh(differences[index]! / deviation), difficulty.get(index)!, 1];
    return preference === null ? [] : [{ target: (preference || 1.5) - 1, weight: 1, columns }];
  });
  return { Gamed, rows };
}
