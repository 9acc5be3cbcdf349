// SPDX-License-Identifier: Apache-2.0
// Scores: charts against a parameter, and a table for each benchmark.
{
  const { el, count, section, note, groupBy, table, columnFormat, lineChart } = report;
  const { byCharts, scores, leftOut } = report.data;

  report.bySection = () => {
    const cursors = new Map();
    const made = byCharts.map((chart) => {
      const { param, benchmark, isLog, categories, lines, baselines, same } = chart;
      cursors.set(param, cursors.get(param) ?? []);
      const series = lines.map(({ name, points }, index) => ({
        name: name === 'score' ? benchmark : name,
        index,
        hasPoints: true,
        points: points.map(({ x, mean, scores: repeats }) => ({
          x,
          y: mean,
          dots: repeats.map(({ score, interval }) => ({ y: score, interval })),
        })),
      }));
      const levels = baselines.map(({ name, score, interval }) => ({ name, y: score, interval }));
      const about = same.map(([name, value]) => `${name} ${value}`).join(', ');
      const { node, draw } = lineChart({
        title: benchmark,
        heading: `${benchmark} by ${param}`,
        xTitle: param,
        series,
        levels,
        isLog,
        categories,
        cursors: categories ? [] : cursors.get(param),
      });
      if (about) node.append(el('p', { class: 'note' }, `All with ${about}.`));
      return { node, draw };
    });
    report.byDraws = made.map(({ draw }) => draw);
    return section(
      'by',
      `Scores by ${[...new Set(byCharts.map(({ param }) => param))].join(' and ')}`,
      note(
        'Bars: 95 % intervals. A line goes through the mean of the seeds at each value; a level across is the score of a file without parameters.',
      ),
      el(
        'div',
        { class: 'charts' },
        made.map(({ node }) => node),
      ),
    );
  };

  const NOT_FIGURES = new Set(['run', 'benchmark', 'split', 'score', 'n', 'model', 'labels_sha256', 'ci95', 'params']);

  function scoreText({ score, ci95 }) {
    const digits = Math.abs(score ?? 0) >= 10 ? 2 : 3;
    const isInterval = Array.isArray(ci95) && ci95.every((value) => typeof value === 'number');
    const text = isInterval && ` [${ci95[0].toFixed(digits)}, ${ci95[1].toFixed(digits)}]`;
    return el(
      'span',
      {},
      typeof score === 'number' ? score.toFixed(digits) : '\u2013',
      text && el('span', { class: 'interval' }, text),
    );
  }

  function columnShow(rows, key) {
    const show = columnFormat(rows.map((row) => row[key]));
    return (row) => show(row[key]);
  }

  function scoreTable(benchmark, rows) {
    const names = (of) => [...new Set(rows.flatMap(of))];
    const figures = names((row) =>
      Object.keys(row).filter((key) => typeof row[key] === 'number' && !NOT_FIGURES.has(key)),
    );
    const params = names((row) => Object.keys(row.params ?? {}));
    const columns = [
      { title: 'file', get: ({ run }) => run, isHead: true },
      { title: 'model', get: ({ model }) => model },
      { title: 'split', get: ({ split }) => split },
      ...params.map((name) => ({
        title: name,
        get: (row) => row.params?.[name],
        show: (row) => String(row.params?.[name] ?? ''),
        isNumber: rows.some((row) => typeof row.params?.[name] === 'number'),
      })),
      { title: 'n', get: ({ n }) => n, isNumber: true },
      { title: 'score', get: ({ score }) => score ?? '', show: scoreText, isNumber: true },
      ...figures.map((key) => ({ title: key, get: (row) => row[key], show: columnShow(rows, key), isNumber: true })),
    ];
    return el('div', {}, el('h3', {}, benchmark), table(`Scores of ${benchmark}`, columns, rows));
  }

  report.scoresSection = () =>
    section(
      'scores',
      'Scores',
      note('In brackets: 95 % interval.'),
      leftOut.scores > 0 &&
        note(`${count(leftOut.scores, 'more score row is', 'more score rows are')} not in these tables.`),
      [...groupBy(scores, ({ benchmark }) => benchmark)].map(([benchmark, rows]) => scoreTable(benchmark, rows)),
    );
}
