// SPDX-License-Identifier: Apache-2.0
// Draws a report from the JSON in #data: curves, scores, files, judges, pairs. Runs in the browser.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const main = document.getElementById('report');
  main.textContent = '';

  /** Element with properties and children; strings become text, so nothing of the data is read as HTML. */
  function el(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name === 'class') node.className = value;
      else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node[name] = value;
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => [color('--accent'), '#e8862a', color('--chosen'), color('--rejected'), '#9a6dd7', '#1aa3a3'];
  const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
  const format = (value) => {
    if (typeof value !== 'number') return value === null || value === undefined ? '' : String(value);
    if (Number.isInteger(value)) return value.toLocaleString('en');
    if (Math.abs(value) < 0.001) return value.toExponential(2);
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toFixed(3)));
  };
  const formatTick = (value) => {
    if (typeof value !== 'number') return '';
    if (Math.abs(value) >= 1e5) return compact.format(value);
    return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(6)));
  };

  const sections = [];
  function section(id, title, ...children) {
    sections.push([id, title]);
    return el('section', { id }, el('h2', {}, title), ...children);
  }

  function table(columns, rows) {
    const head = el(
      'tr',
      {},
      columns.map(({ title, isNumber }) => el('th', { class: isNumber ? 'number' : '' }, title)),
    );
    const body = rows.map((row) =>
      el(
        'tr',
        {},
        columns.map(({ get, isNumber, isText }) => {
          const value = get(row);
          return el(
            'td',
            { class: isNumber ? 'number' : isText ? 'text' : '' },
            value instanceof Node ? value : format(value),
          );
        }),
      ),
    );
    return el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, head), el('tbody', {}, body)));
  }

  // --- curves ---------------------------------------------------------------------------------------------------------------

  const GROUPS = [
    ['Loss', ['loss']],
    ['Rewards', ['rewards/chosen', 'rewards/rejected']],
    ['Reward margin', ['rewards/margins']],
    ['Reward accuracy', ['rewards/accuracies']],
    ['Log-probabilities', ['logps/chosen', 'logps/rejected']],
    ['Gradient norm', ['grad_norm']],
    ['Learning rate', ['learning_rate']],
    ['Tokens per second', ['tokens_per_second']],
    ['Pairs per second', ['pairs_per_second']],
    ['Peak memory, bytes', ['peak_memory_bytes']],
  ];

  function curveGroups() {
    const known = new Set(GROUPS.flatMap(([, keys]) => keys));
    const other = new Set(data.curves.flatMap(({ keys }) => keys.filter((key) => !known.has(key))));
    return [...GROUPS, ...[...other].map((key) => [key, [key]])];
  }

  // One chart joins the runs on their steps.
  function chartData(keys) {
    const series = data.curves.flatMap((run) =>
      keys
        .filter((key) => run.keys.includes(key))
        .map((key) => ({ run, key, column: run.columns[run.keys.indexOf(key) + 1] })),
    );
    const steps = [...new Set(series.flatMap(({ run }) => run.columns[0]))].sort((a, b) => a - b);
    const columns = series.map(({ run, column }) => {
      const byStep = new Map(run.columns[0].map((step, index) => [step, column[index]]));
      return steps.map((step) => byStep.get(step) ?? null);
    });
    const runLabel = ({ name }) => name.replace(/\.metrics$/, '');
    const keyLabel = (key) => (keys.length > 1 ? key.split('/').pop() : data.curves.length > 1 ? '' : key);
    const label = ({ run, key }) =>
      [data.curves.length > 1 ? runLabel(run) : '', keyLabel(key)].filter(Boolean).join(' ');
    // A run keeps its colour; its second figure in a chart is dashed.
    const style = ({ run, key }) => ({ color: data.curves.indexOf(run), isDashed: keys.indexOf(key) > 0 });
    return { labels: series.map(label), styles: series.map(style), columns: [steps, ...columns] };
  }

  const charts = [];
  function drawCharts() {
    for (const { box, plot, keys } of charts) {
      plot.current?.destroy();
      const { labels, styles, columns } = chartData(keys);
      const axis = {
        stroke: color('--muted'),
        grid: { stroke: color('--grid'), width: 1 },
        ticks: { stroke: color('--grid') },
      };
      plot.current = new uPlot(
        {
          width: Math.max(200, box.clientWidth),
          height: 220,
          scales: { x: { time: false } },
          cursor: { sync: { key: 'steps' } },
          axes: [axis, { ...axis, size: 64, values: (_, ticks) => ticks.map(formatTick) }],
          series: [
            { label: 'step' },
            ...labels.map((name, index) => ({
              label: name,
              stroke: palette()[styles[index].color % palette().length],
              ...(styles[index].isDashed && { dash: [5, 4] }),
              width: 1.5,
              points: { show: columns[0].length < 40, size: 4 },
              value: (_, value) => (value === null ? '' : format(value)),
            })),
          ],
        },
        columns,
        box,
      );
    }
  }

  function curvesSection() {
    const shown = curveGroups().filter(([, keys]) =>
      data.curves.some((run) => keys.some((key) => run.keys.includes(key))),
    );
    const panels = shown.map(([title, keys]) => {
      const box = el('div');
      charts.push({ box, keys, plot: {} });
      return el('div', { class: 'chart' }, el('h3', {}, title), box);
    });
    return section('training', 'Training', el('div', { class: 'charts' }, panels));
  }

  // --- scores ---------------------------------------------------------------------------------------------------------------

  const NOT_FIGURES = new Set([
    'run',
    'benchmark',
    'split',
    'score',
    'n',
    'model',
    'labels_sha256',
    'low',
    'high',
    'interval',
    'ci95',
  ]);

  function intervalOf(row) {
    for (const value of [row.interval, row.ci95, row.score_interval]) {
      if (Array.isArray(value) && typeof value[0] === 'number' && typeof value[1] === 'number') return value;
    }
    return typeof row.low === 'number' && typeof row.high === 'number' ? [row.low, row.high] : undefined;
  }

  function scoreCell(row) {
    const interval = intervalOf(row);
    const digits = Math.abs(row.score ?? 0) >= 10 ? 2 : 3;
    const text = interval && ` [${interval[0].toFixed(digits)}, ${interval[1].toFixed(digits)}]`;
    const score = typeof row.score === 'number' ? row.score.toFixed(digits) : '\u2013';
    return el('span', {}, score, text ? el('span', { class: 'interval' }, text) : null);
  }

  /** The numbers of a column with the same decimals, so that they can be read down. */
  function columnFormat(rows, key) {
    const values = rows.map((row) => row[key]).filter((value) => typeof value === 'number');
    const isWhole = values.every(Number.isInteger);
    const digits = Math.max(...values.map(Math.abs)) >= 10 ? 1 : 3;
    return (row) => (typeof row[key] === 'number' && !isWhole ? row[key].toFixed(digits) : row[key]);
  }

  function scoresSection() {
    const byBenchmark = Map.groupBy
      ? Map.groupBy(data.scores, ({ benchmark }) => benchmark)
      : data.scores.reduce((map, row) => map.set(row.benchmark, [...(map.get(row.benchmark) ?? []), row]), new Map());
    const tables = [...byBenchmark].map(([benchmark, rows]) => {
      const figures = [
        ...new Set(
          rows.flatMap((row) =>
            Object.keys(row).filter((key) => typeof row[key] === 'number' && !NOT_FIGURES.has(key)),
          ),
        ),
      ];
      const columns = [
        { title: 'file', get: (row) => row.run.replace(/\.scores$/, '') },
        ...(rows.some(({ model }) => model !== undefined) ? [{ title: 'model', get: (row) => row.model }] : []),
        { title: 'split', get: (row) => row.split },
        { title: 'n', get: (row) => row.n, isNumber: true },
        { title: 'score', get: scoreCell, isNumber: true },
        ...figures.map((key) => ({ title: key, get: columnFormat(rows, key), isNumber: true })),
      ];
      return el('div', {}, el('h3', {}, benchmark), table(columns, rows));
    });
    return section('scores', 'Scores', el('p', { class: 'note' }, 'In brackets: 95 % interval.'), tables);
  }

  // --- files and judges -----------------------------------------------------------------------------------------------------

  function filesSection() {
    const columns = [
      { title: 'file', get: ({ run }) => run },
      ...['rows', 'withViews', 'withResponses', 'annotated', 'pairs', 'withReference'].map((key) => ({
        title:
          { withViews: 'with views', withResponses: 'with responses', withReference: 'with reference' }[key] ?? key,
        get: (row) => row[key],
        isNumber: true,
      })),
      {
        title: 'failed',
        get: ({ failed }) =>
          Object.entries(failed)
            .map(([why, n]) => `${why} ${n}`)
            .join(', '),
      },
    ];
    return section(
      'files',
      'Records',
      el(
        'p',
        { class: 'note' },
        'What each file holds: a stage that drops rows shows as a smaller number than the file before it.',
      ),
      table(columns, data.files),
    );
  }

  const countsText = (counts) =>
    Object.entries(counts)
      .map(([why, n]) => `${why} ${format(n)}`)
      .join(', ');
  const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

  /** How the rows of a stage ended, as a bar: written, dropped, failed. */
  function stageBar({ read, dropped, failed }) {
    const lost = total(dropped);
    const parts = [
      ['kept', read - lost - failed],
      ['dropped', lost],
      ['failed', failed],
    ].filter(([, n]) => n > 0);
    const title = parts.map(([name, n]) => `${name} ${format(n)}`).join(', ');
    const pieces = parts.map(([name, n]) => {
      const piece = el('span', { class: name });
      piece.style.flexGrow = String(n);
      return piece;
    });
    const bar = el('span', { class: 'bar', title }, pieces);
    bar.setAttribute('role', 'img');
    bar.setAttribute('aria-label', title);
    return bar;
  }

  function stagesSection() {
    const hasJudge = data.stages.some(({ requests }) => requests !== undefined);
    const columns = [
      {
        title: 'stage',
        get: ({ stage, run }) => (data.stages.length > 1 ? `${stage} (${run.replace(/\.summary$/, '')})` : stage),
      },
      { title: '', get: stageBar },
      { title: 'rows in', get: ({ read }) => read, isNumber: true },
      { title: 'rows out', get: ({ written }) => written, isNumber: true },
      { title: 'dropped', get: ({ dropped }) => total(dropped), isNumber: true },
      { title: 'failed', get: ({ failed }) => failed, isNumber: true },
      { title: 'why dropped', get: ({ dropped }) => countsText(dropped), isText: true },
      ...(data.stages.some(({ leftOut }) => total(leftOut) > 0)
        ? [{ title: 'answers left out', get: ({ leftOut }) => countsText(leftOut), isText: true }]
        : []),
      ...(hasJudge
        ? [
            { title: 'calls', get: ({ requests }) => requests, isNumber: true },
            { title: 'from cache', get: ({ cached }) => cached, isNumber: true },
            { title: 'tokens', get: ({ tokens }) => tokens, isNumber: true },
            {
              title: 'cost',
              get: ({ cost }) => (cost === undefined ? '' : cost === null ? 'not known' : `${cost.toFixed(2)} USD`),
              isNumber: true,
            },
          ]
        : []),
      { title: 'about', get: ({ notes }) => notes.join('; '), isText: true },
    ];
    return section(
      'stages',
      'Stages',
      el('p', { class: 'note' }, 'What each stage kept and dropped, and why; what a judge cost.'),
      table(columns, data.stages),
    );
  }

  function judgesSection() {
    const columns = [
      { title: 'file', get: ({ run }) => run },
      { title: 'judge', get: ({ judge }) => judge },
      { title: 'guide', get: ({ guide }) => guide },
      { title: 'entries', get: ({ entries }) => entries, isNumber: true },
      {
        title: 'outcomes',
        get: ({ outcomes }) =>
          Object.entries(outcomes)
            .map(([name, n]) => `${name} ${n}`)
            .join(', '),
      },
      {
        title: 'usage',
        get: ({ usage }) =>
          Object.entries(usage)
            .map(([name, n]) => `${name} ${format(n)}`)
            .join(', '),
      },
    ];
    const agreement = data.judges.flatMap(({ judge, guide, agreement }) =>
      Object.entries(agreement).map(([metric, figures]) => ({ judge, guide, metric, ...figures })),
    );
    const between = data.judgePairs.flatMap(({ judges, agreement }) =>
      Object.entries(agreement).map(([metric, figures]) => ({ judge: judges.join(' and '), metric, ...figures })),
    );
    const agreementColumns = [
      { title: 'judge', get: ({ judge }) => judge },
      { title: 'metric', get: ({ metric }) => metric },
      { title: 'equal', get: ({ equal }) => `${(100 * equal).toFixed(1)} %`, isNumber: true },
      { title: 'mean difference', get: ({ meanDifference }) => meanDifference, isNumber: true },
      { title: 'scores compared', get: ({ n }) => n, isNumber: true },
    ];
    return section(
      'judges',
      'Judges',
      table(columns, data.judges),
      agreement.length > 0
        ? [el('h3', {}, 'Agreement between runs of one judge'), table(agreementColumns, agreement)]
        : null,
      between.length > 0 ? [el('h3', {}, 'Agreement between judges'), table(agreementColumns, between)] : null,
    );
  }

  // --- pairs ----------------------------------------------------------------------------------------------------------------

  const PAGE = 20;
  const words = (text) => text.match(/\s+|[^\s]+/g) ?? [];

  /** Which words of a and b are in their longest common subsequence. Long texts are compared by their first 600 words. */
  function commonWords(a, b) {
    const n = Math.min(a.length, 1200);
    const m = Math.min(b.length, 1200);
    const length = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
    for (let i = n - 1; i >= 0; i--)
      for (let j = m - 1; j >= 0; j--)
        length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
    const inA = new Set();
    const inB = new Set();
    for (let i = 0, j = 0; i < n && j < m; ) {
      if (a[i] === b[j]) {
        inA.add(i++);
        inB.add(j++);
      } else if (length[i + 1][j] >= length[i][j + 1]) i++;
      else j++;
    }
    return [inA, inB];
  }

  function marked(parts, common, tag, doubtful) {
    const doubts = doubtfulWords(parts, doubtful);
    return parts.map((part, index) => {
      const node = common.has(index) || /^\s+$/.test(part) ? part : el(tag, {}, part);
      return doubts.has(index) ? el('mark', { title: doubts.get(index) }, node) : node;
    });
  }

  const describeClaim = ({ text, pYes }) => `${text} (P(yes) ${format(pYes)})`;

  /** Which words are of a doubtful claim that stands in the text word for word, and what is said of it. */
  function doubtfulWords(parts, claims) {
    const text = parts.join('').toLowerCase();
    const found = new Map();
    for (const claim of claims) {
      const start = text.indexOf(claim.text.toLowerCase().replace(/[\s.]+$/, ''));
      const end = start + claim.text.length;
      for (let index = 0, at = 0; start >= 0 && index < parts.length; at += parts[index++].length)
        if (at + parts[index].length > start && at < end) found.set(index, describeClaim(claim));
    }
    return found;
  }

  /** The doubtful claims in words: a split may say them otherwise than the text. */
  function doubtList(claims) {
    return claims.length === 0
      ? null
      : el(
          'ul',
          { class: 'doubts' },
          ...claims.map((claim) => el('li', {}, 'doubtful: ', el('mark', {}, describeClaim(claim)))),
        );
  }

  function answers(pair) {
    const chosen = words(pair.chosen);
    const others = pair.rejected.map((text) => words(text));
    const common = others.map((other) => commonWords(chosen, other));
    const inAll = new Set(
      chosen.keys().filter
        ? [...chosen.keys()].filter((index) => common.every(([inChosen]) => inChosen.has(index)))
        : [],
    );
    const score = (value) => (value === undefined ? '' : ` (${format(value)})`);
    const [doubts = [], ...otherDoubts] = pair.doubtfulClaims ?? [];
    return [
      el(
        'p',
        { class: 'answer chosen' },
        el('b', {}, `chosen${score(pair.chosenScore)}`),
        marked(chosen, inAll, 'ins', doubts),
      ),
      doubtList(doubts),
      ...others.flatMap((other, index) => [
        el(
          'p',
          { class: 'answer rejected' },
          el('b', {}, `rejected${score([pair.rejectedScore].flat()[index])}`),
          marked(other, common[index][1], 'del', otherDoubts[index] ?? []),
        ),
        doubtList(otherDoubts[index] ?? []),
      ]),
    ];
  }

  function pictures(pair) {
    const figure = (index, caption) => {
      const source = data.pictures[index];
      return source
        ? el('figure', {}, el('img', { src: source, alt: caption, loading: 'lazy' }), el('figcaption', {}, caption))
        : null;
    };
    const shown = [
      ...pair.images.map((index) => figure(index, 'image')),
      ...pair.rejectedImages.map((index) => figure(index, pair.view || 'distorted image')),
    ];
    const none = shown.every((node) => node === null) && pair.images.length > 0;
    return el(
      'div',
      { class: 'pictures' },
      shown,
      none ? el('span', { class: 'empty' }, 'picture not included') : null,
    );
  }

  function scoresOf(pair) {
    if (!pair.scores) return null;
    const metrics = [...new Set(pair.scores.flatMap((scores) => Object.keys(scores ?? {})))];
    const rows = pair.scores.map((scores, index) => ({ scores: scores ?? {}, text: pair.responses[index] ?? '' }));
    const columns = [
      ...metrics.map((metric) => ({ title: metric, get: ({ scores }) => scores[metric], isNumber: true })),
      { title: 'response', get: ({ text }) => (text.length > 120 ? `${text.slice(0, 120)}...` : text) },
    ];
    return el('details', {}, el('summary', {}, 'judge scores of all responses'), table(columns, rows));
  }

  function pairCard(pair) {
    const about = [
      pair.id,
      pair.rule && `rule ${pair.rule}`,
      pair.view && `view ${pair.view}`,
      data.files.length > 1 && pair.run,
    ];
    return el(
      'article',
      { class: 'pair' },
      pictures(pair),
      el(
        'div',
        {},
        el('div', { class: 'id' }, about.filter(Boolean).join(' \u00b7 ')),
        el('p', { class: 'prompt' }, pair.prompt),
        answers(pair),
        scoresOf(pair),
      ),
    );
  }

  function pairsSection() {
    const state = { query: '', order: 'file', page: 0 };
    const list = el('div');
    const where = el('span', { class: 'empty' });
    const gap = (pair) => (pair.chosenScore ?? 0) - Math.max(...[pair.rejectedScore ?? 0].flat());
    const orders = {
      file: ['file order', null],
      gap: ['largest score difference', (a, b) => gap(b) - gap(a)],
      length: ['longest chosen', (a, b) => b.chosen.length - a.chosen.length],
      shorter: [
        'chosen shorter than rejected',
        (a, b) => a.chosen.length - (a.rejected[0] ?? '').length - (b.chosen.length - (b.rejected[0] ?? '').length),
      ],
    };
    const text = data.pairs.map((pair) =>
      [pair.id, pair.prompt, pair.chosen, ...pair.rejected].join('\n').toLowerCase(),
    );
    function show() {
      const query = state.query.toLowerCase();
      let found = data.pairs.filter((_, index) => text[index].includes(query));
      const compare = orders[state.order][1];
      if (compare) found = found.slice().sort(compare);
      const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
      state.page = Math.min(state.page, last);
      const from = state.page * PAGE;
      list.replaceChildren(...found.slice(from, from + PAGE).map(pairCard));
      where.textContent =
        found.length === 0
          ? 'no pair matches'
          : `${format(from + 1)}-${format(Math.min(found.length, from + PAGE))} of ${format(found.length)}`;
      back.disabled = state.page === 0;
      on.disabled = state.page === last;
    }
    const search = el('input', {
      type: 'search',
      placeholder: 'search prompts and answers',
      ariaLabel: 'search prompts and answers',
      oninput: () => {
        state.query = search.value;
        state.page = 0;
        show();
      },
    });
    const order = el(
      'select',
      {
        ariaLabel: 'order',
        onchange: () => {
          state.order = order.value;
          state.page = 0;
          show();
        },
      },
      Object.entries(orders).map(([value, [title]]) => el('option', { value }, title)),
    );
    const turn = (by) => () => {
      state.page += by;
      show();
      document.getElementById('pairs').scrollIntoView();
    };
    const back = el('button', { type: 'button', onclick: turn(-1) }, 'Previous');
    const on = el('button', { type: 'button', onclick: turn(1) }, 'Next');
    const note =
      data.numPairsLeftOut > 0
        ? el('p', { class: 'note' }, `${format(data.numPairsLeftOut)} more pairs were left out of this file.`)
        : null;
    const node = section(
      'pairs',
      `Pairs (${format(data.pairs.length)})`,
      note,
      el('div', { class: 'controls' }, search, order, back, on, where),
      list,
    );
    show();
    return node;
  }

  // --- page -----------------------------------------------------------------------------------------------------------------

  const body = [
    data.curves.length > 0 ? curvesSection() : null,
    data.scores.length > 0 ? scoresSection() : null,
    data.stages.length > 0 ? stagesSection() : null,
    data.files.length > 0 ? filesSection() : null,
    data.judges.length > 0 ? judgesSection() : null,
    data.pairs.length > 0 ? pairsSection() : null,
  ];
  main.append(
    el('h1', {}, data.title),
    el(
      'nav',
      {},
      sections.map(([id, title]) => el('a', { href: `#${id}` }, title)),
    ),
    ...body.filter(Boolean),
  );
  document.title = data.title;
  drawCharts();
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawCharts);
  let resize;
  addEventListener('resize', () => {
    clearTimeout(resize);
    resize = setTimeout(drawCharts, 150);
  });
})();
