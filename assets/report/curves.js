// SPDX-License-Identifier: Apache-2.0
// Curves of training and of held-out records, and train's warnings.
{
  const { el, format, count, section, note, lineChart } = report;
  const { curves, leftOut } = report.data;

  // Charts of related figures; the second figure of a chart is dashed.
  const CHARTS = [
    ['Loss', 'loss', 'eval/loss'],
    ['Reward accuracy', 'rewards/accuracies', 'eval/rewards/accuracies'],
    ['Reward margin', 'rewards/margins', 'eval/rewards/margins'],
    ['Rewards', 'rewards/chosen', 'rewards/rejected'],
    ['Held-out rewards', 'eval/rewards/chosen', 'eval/rewards/rejected'],
    ['Log-probabilities', 'logps/chosen', 'logps/rejected'],
    ['Held-out log-probabilities', 'eval/logps/chosen', 'eval/logps/rejected'],
    ['Gradient norm', 'grad_norm'],
    ['Learning rate', 'learning_rate'],
    ['Tokens per second', 'tokens_per_second'],
    ['Pairs per second', 'pairs_per_second'],
    ['Peak memory, bytes', 'peak_memory_bytes'],
  ];
  const isMarked = (key) => /loss|rewards|logps/.test(key);

  const drawnCurves = () => curves.filter(({ name }) => report.drawn.has(name));

  function chartKeys() {
    const known = new Set(CHARTS.flatMap(([, ...keys]) => keys));
    const others = new Set(curves.flatMap(({ keys }) => keys.filter((key) => !known.has(key))));
    const drawn = drawnCurves();
    return [...CHARTS, ...[...others].map((key) => [key, key])].filter(([, ...keys]) =>
      drawn.some((run) => keys.some((key) => run.keys.includes(key))),
    );
  }

  function keyName(key, keys) {
    if (keys.length === 1) return '';
    if (key.startsWith('eval/') && !keys.every((one) => one.startsWith('eval/'))) return 'held out';
    return keys.some((one) => one.startsWith('eval/')) && !key.startsWith('eval/') ? 'training' : key.split('/').pop();
  }

  function seriesOf(run, key, keys, isDashed) {
    const [steps] = run.columns;
    const column = run.columns[run.keys.indexOf(key) + 1];
    const points = steps
      .map((x, k) => ({ x, y: column[k], isBest: run.best?.step === x && run.best.key === key }))
      .filter(({ y }) => y !== null);
    const name = [curves.length > 1 ? run.name : '', keyName(key, keys)].filter(Boolean).join(' ') || run.name;
    return {
      name,
      index: curves.indexOf(run),
      isDashed,
      hasPoints: points.length < 30 && key.startsWith('eval/'),
      points,
    };
  }

  /** Numbered over all runs; a chart's mark has its number. */
  const warnings = curves
    .flatMap((run) => (run.marks ?? []).map((mark) => ({ run, ...mark })))
    .map((mark, k) => ({ number: k + 1, ...mark }));

  function marksOf(keys, drawn) {
    if (!keys.some(isMarked)) return [];
    const shown = warnings.filter(({ run }) => drawn.includes(run));
    return shown.map(({ number, step, name }) => ({
      x: step,
      label: `\u26a0${number}`,
      text: `warning ${number}: ${name} at step ${step}`,
    }));
  }

  const charts = el('div', { class: 'charts' });
  report.redraws = [];
  report.drawCurves = () => {
    const drawn = drawnCurves();
    const cursors = [];
    const made = chartKeys().map(([title, ...all]) => {
      const keys = all.filter((key) => drawn.some((run) => run.keys.includes(key)));
      const series = drawn.flatMap((run) =>
        keys.filter((key) => run.keys.includes(key)).map((key) => seriesOf(run, key, keys, keys.indexOf(key) > 0)),
      );
      return lineChart({
        title,
        xTitle: 'step',
        series: series.filter(({ points }) => points.length > 0),
        marks: marksOf(keys, drawn),
        cursors,
      });
    });
    charts.replaceChildren(...made.map(({ node }) => node));
    report.redraws = made.map(({ draw }) => draw);
    for (const draw of report.redraws) draw();
  };

  function warningList() {
    if (warnings.length === 0) return null;
    const line = ({ number, run, step, name, message }) =>
      el(
        'li',
        { value: number },
        el('b', {}, name),
        ` at step ${format(step)}${curves.length > 1 ? ` of ${run.name}` : ''}: ${message}`,
      );
    return [el('h3', {}, `Warnings (\u26a0 in the charts)`), el('ol', { class: 'warnings' }, warnings.map(line))];
  }

  function thinnedNote() {
    const thinned = curves.filter(({ numSteps, columns }) => columns[0].length < numSteps);
    if (thinned.length === 0) return null;
    const about = thinned
      .slice(0, 5)
      .map(({ name, numSteps, columns }) => `${name}: ${format(columns[0].length)} of ${format(numSteps)} steps`);
    return note(
      `Long runs are drawn by the steps with the highest and lowest loss of each range, and every evaluation (${about.join('; ')}${thinned.length > 5 ? '; ...' : ''}).`,
    );
  }

  report.curvesSection = () =>
    section(
      'training',
      'Training',
      note(
        curves.some(({ keys }) => keys.some((key) => key.startsWith('eval/'))) &&
          'Dashed: held-out records, or the second figure of a chart. ',
        curves.some(({ best }) => best) && 'A ring is around the best evaluation. ',
        'Drag or + zooms, double-click or Escape shows all, arrow keys read values.',
      ),
      leftOut.curves > 0 && note(`The curves of ${count(leftOut.curves, 'more run')} are not in this page.`),
      curves.length > report.drawn.size &&
        note(`${report.drawn.size} of ${curves.length} runs are drawn; the table of runs says which.`),
      thinnedNote(),
      warningList(),
      charts,
    );
}
