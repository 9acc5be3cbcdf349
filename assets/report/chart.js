// SPDX-License-Identifier: Apache-2.0
// Line charts in SVG: for the mouse, the keyboard (arrows move along, + and - zoom, Escape shows all), screen readers and paper.
{
  const { el, svg, format, formatTick } = report;
  const HEIGHT = 220;
  const PAD = { left: 58, right: 12, top: 14, bottom: 26 };
  /** Colours, then shapes, so series are distinct without colour too. */
  const NUM_COLORS = 8;
  const SHAPES = [
    'M-3.5,0a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0',
    'M-3.2,-3.2h6.4v6.4h-6.4z',
    'M0,-4.2L4,3.2h-8z',
    'M0,-4.6L4.2,0L0,4.6L-4.2,0z',
    'M0,4.2L4,-3.2h-8z',
  ];

  const strokeOf = ({ index }) => `var(--series-${index % NUM_COLORS})`;
  const shapeOf = ({ index }) => SHAPES[index % SHAPES.length];

  /** Round numbers from low to high, about `count` of them. */
  function ticksOf(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(k * step);
    return ticks;
  }

  /** 1, 2, 5, 10... between low and high; only powers of ten over many decades. */
  function logTicks(low, high) {
    const decades = Math.log10(high / low);
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of decades > 3 ? [1] : [1, 2, 5]) ticks.push(factor * 10 ** power);
    return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  }

  function rangeOf(values, margin) {
    const low = values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = high > low ? (high - low) * margin : Math.abs(high) * 0.05 || 1;
    return [low - room, high + room];
  }

  /**
   * A chart. `series`: [{name, index, isDashed, hasPoints, points: [{x, y, interval?, dots?: [{y, interval?}]}]}] by rising x; `index` gives colour and shape.
   * `marks`: [{x, label, text}], vertical lines; `levels`: [{name, y, interval?}], horizontal lines. `cursors` move with this chart's.
   */
  function lineChart({
    title,
    heading = title,
    xTitle,
    series,
    marks = [],
    levels = [],
    isLog = false,
    categories,
    cursors = [],
  }) {
    const xs = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b);
    const view = { from: xs[0], to: xs.at(-1), at: undefined };
    const hasRepeats = series.some(({ points }) => points.some(({ dots }) => dots?.length > 1));
    const hasBars = series.some(({ points }) => points.some(({ dots }) => dots !== undefined));
    const describe = (x) => (categories ? categories[x] : format(x));
    const plot = el('div', { class: 'plot', tabIndex: 0, role: 'img', 'aria-label': '' });
    const legend = el('ul', { class: 'legend' });
    const where = el('span', { class: 'where' });
    const spoken = el('span', { class: 'unseen', 'aria-live': 'polite' });
    let place = (x) => x;
    let unplace = (x) => x;
    let cursor;

    function draw() {
      const width = Math.max(220, plot.clientWidth || 400);
      const [low, high] = isLog
        ? [Math.log(view.from) - 0.1, Math.log(view.to) + 0.1]
        : rangeOf([view.from, view.to], hasRoom() ? 0.06 : 0);
      const inView = (x) => x >= view.from && x <= view.to;
      const ys = [
        ...series.flatMap(({ points }) => points.filter(({ x }) => inView(x)).flatMap(valuesOf)),
        ...levels.flatMap(({ y, interval = [] }) => [y, ...interval]),
      ];
      const [bottom, top] = rangeOf(ys, 0.08);
      const inner = width - PAD.left - PAD.right;
      const scale = (x) => (isLog ? Math.log(x) : x);
      place = (x) => PAD.left + ((scale(x) - low) / (high - low)) * inner;
      unplace = (pixel) => {
        const value = low + ((pixel - PAD.left) / inner) * (high - low);
        return isLog ? Math.exp(value) : value;
      };
      const down = (y) => PAD.top + ((top - y) / (top - bottom)) * (HEIGHT - PAD.top - PAD.bottom);
      cursor = svg('line', { class: 'cursor', y1: PAD.top, y2: HEIGHT - PAD.bottom, visibility: 'hidden' });
      const picture = svg(
        'svg',
        { viewBox: `0 0 ${width} ${HEIGHT}`, 'aria-hidden': 'true' },
        grid(width, [low, high], [bottom, top], down),
        levels.map((level, k) => levelLine(level, k, width, down)),
        marks.filter(({ x }) => inView(x)).map((mark) => markLine(mark)),
        series.map((one) =>
          seriesLines(
            one,
            one.points.filter(({ x }) => inView(x)),
            down,
          ),
        ),
        cursor,
      );
      plot.replaceChildren(picture);
      plot.setAttribute('aria-label', summary());
      moveTo(view.at, false);
    }

    const hasRoom = () =>
      categories !== undefined || series.some(({ hasPoints }) => hasPoints) || view.from === view.to;

    function grid(width, [low, high], [bottom, top], down) {
      const upright = categories
        ? categories.map((_, k) => k)
        : isLog
          ? logTicks(Math.exp(low), Math.exp(high))
          : ticksOf(low, high, Math.max(2, Math.floor(width / 70)));
      // With few values, these are the ticks.
      const tried = xs.filter((x) => x >= view.from && x <= view.to);
      const areApart = tried.every((x, k) => k === 0 || place(x) - place(tried[k - 1]) >= 36);
      const ticks = !categories && hasBars && tried.length <= 12 && areApart ? tried : upright;
      return [
        ticksOf(bottom, top, 5).map((y) => [
          svg('line', { class: 'grid', x1: PAD.left, x2: width - PAD.right, y1: down(y), y2: down(y) }),
          svg('text', { class: 'tick', x: PAD.left - 6, y: down(y) + 4, 'text-anchor': 'end' }, formatTick(y)),
        ]),
        ticks.map((x) =>
          svg(
            'text',
            { class: 'tick', x: place(x), y: HEIGHT - 8, 'text-anchor': 'middle' },
            categories ? short(categories[x]) : formatTick(x),
          ),
        ),
      ];
    }

    function seriesLines(one, points, down) {
      // Overlapping bars are shown side by side.
      const aside = hasBars ? 4 * (series.indexOf(one) - (series.length - 1) / 2) : 0;
      const across = (x) => place(x) + Math.max(-12, Math.min(12, aside));
      const stroke = strokeOf(one);
      const path = points
        .map(({ x, y }, k) => `${k === 0 ? 'M' : 'L'}${across(x).toFixed(1)},${down(y).toFixed(1)}`)
        .join('');
      const every = one.hasPoints ? 1 : Math.max(1, Math.ceil(points.length / 5));
      const stands = points.filter((_, k) => k === points.length - 1 || k % every === 0);
      const bars = points.flatMap(({ x, y, interval, dots }) =>
        (dots ?? [{ y, interval }]).map((dot) => ({ x, ...dot })),
      );
      return svg(
        'g',
        { style: `stroke:${stroke};fill:${stroke}` },
        svg('path', { class: one.isDashed ? 'series dashed' : 'series', d: path }),
        bars.map(({ x, y, interval }) => [
          interval &&
            svg('line', { class: 'bar', x1: across(x), x2: across(x), y1: down(interval[0]), y2: down(interval[1]) }),
          hasRepeats && svg('circle', { class: 'repeat', cx: across(x), cy: down(y), r: 2 }),
        ]),
        stands.map(({ x, y }) =>
          svg('path', {
            class: 'stand',
            d: shapeOf(one),
            transform: `translate(${across(x).toFixed(1)},${down(y).toFixed(1)})`,
          }),
        ),
        points
          .filter(({ isBest }) => isBest)
          .map(({ x, y }) => svg('circle', { class: 'best', cx: across(x), cy: down(y), r: 7 })),
      );
    }

    function markLine({ x, label, text }) {
      const at = place(x);
      return svg(
        'g',
        { class: 'mark' },
        svg('title', {}, text),
        svg('line', { x1: at, x2: at, y1: PAD.top, y2: HEIGHT - PAD.bottom }),
        svg('text', { x: at, y: PAD.top - 3, 'text-anchor': 'middle' }, label),
      );
    }

    function levelLine({ name, y, interval }, k, width, down) {
      const box = { x: PAD.left, width: width - PAD.left - PAD.right };
      return svg(
        'g',
        { class: 'level' },
        interval &&
          svg('rect', { ...box, y: down(interval[1]), height: Math.max(1, down(interval[0]) - down(interval[1])) }),
        svg('line', { x1: PAD.left, x2: width - PAD.right, y1: down(y), y2: down(y) }),
        svg('text', { x: width - PAD.right - 4, y: down(y) - 4 - 12 * (k % 2), 'text-anchor': 'end' }, name),
      );
    }

    /** A description of the chart, for screen readers. */
    function summary() {
      const about = series.map(({ name, points }) => {
        const first = points[0];
        const last = points.at(-1);
        return points.length === 1
          ? `${name}: ${format(last.y)} at ${describe(last.x)}`
          : `${name}: ${format(first.y)} at ${describe(first.x)} to ${format(last.y)} at ${describe(last.x)}`;
      });
      const lines = levels.map(({ name, y }) => `${name}: ${format(y)}`);
      const warnings = marks.map(({ text }) => text);
      return `${title}, by ${xTitle}. ${[...about, ...lines, ...warnings].join('; ')}. Arrow keys read values.`;
    }

    /** The values at x in the legend; those of the last point while the chart is at rest. */
    function moveTo(x, isSpoken) {
      view.at = x;
      cursor.setAttribute('visibility', x === undefined ? 'hidden' : 'visible');
      if (x !== undefined) for (const side of ['x1', 'x2']) cursor.setAttribute(side, place(x));
      where.textContent = x === undefined ? `last ${xTitle}` : `${xTitle} ${describe(x)}`;
      const items = series.map((one) => {
        const point = x === undefined ? one.points.findLast((p) => p.x <= view.to) : one.points.find((p) => p.x === x);
        return [one, point];
      });
      legend.replaceChildren(
        ...items.map(([one, point]) =>
          el(
            'li',
            {},
            swatch(one),
            `${one.name} `,
            el('b', {}, pointText(point)),
            x === undefined && point && ` at ${describe(point.x)}`,
          ),
        ),
      );
      if (isSpoken)
        spoken.textContent = `${describe(x)}: ${items
          .filter(([, p]) => p)
          .map(([one, p]) => `${one.name} ${pointText(p)}`)
          .join(', ')}`;
    }

    const shown = () => xs.filter((x) => x >= view.from && x <= view.to);
    const nearest = (pixel) => {
      const x = unplace(pixel);
      return shown().reduce((best, one) => (Math.abs(one - x) < Math.abs(best - x) ? one : best));
    };
    function move(x, isSpoken = false) {
      moveTo(x, isSpoken);
      for (const other of cursors) if (other !== follow) other(x);
    }
    const follow = (x) => moveTo(x === undefined || x < view.from || x > view.to ? undefined : x, false);
    cursors.push(follow);

    function zoom(from, to) {
      if (categories || shown().filter((x) => x >= from && x <= to).length < 2) return;
      Object.assign(view, { from, to });
      draw();
    }
    const all = () => {
      Object.assign(view, { from: xs[0], to: xs.at(-1) });
      draw();
    };

    let drag;
    const pixelOf = (event) => event.clientX - plot.getBoundingClientRect().left;
    plot.addEventListener('pointerdown', (event) => {
      drag = pixelOf(event);
    });
    plot.addEventListener('pointermove', (event) => move(nearest(pixelOf(event))));
    plot.addEventListener('pointerup', (event) => {
      const ends = [drag, pixelOf(event)].sort((a, b) => a - b);
      if (drag !== undefined && ends[1] - ends[0] > 8) zoom(unplace(ends[0]), unplace(ends[1]));
      drag = undefined;
    });
    plot.addEventListener('pointerleave', () => move(undefined));
    plot.addEventListener('dblclick', all);
    plot.addEventListener('blur', () => move(undefined));
    plot.addEventListener('keydown', (event) => {
      const steps = shown();
      const at = view.at === undefined ? steps.length - 1 : steps.indexOf(view.at);
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 }[event.key];
      const span = Math.ceil(steps.length / 4);
      if (to !== undefined) move(steps[Math.min(Math.max(to, 0), steps.length - 1)], true);
      else if (event.key === '+') zoom(steps[Math.max(0, at - span)], steps[Math.min(steps.length - 1, at + span)]);
      else if (event.key === '-' || event.key === 'Escape') all();
      else return;
      event.preventDefault();
    });

    const node = el(
      'figure',
      { class: 'chart' },
      el('h3', {}, heading),
      plot,
      el('figcaption', {}, where, legend),
      spoken,
      valuesTable({ heading, xTitle, xs, series, describe }),
    );
    return { node, draw };
  }

  const valuesOf = ({ y, interval = [], dots = [] }) => [
    y,
    ...interval,
    ...dots.flatMap((dot) => [dot.y, ...(dot.interval ?? [])]),
  ];
  const short = (text) => (text.length > 16 ? `${text.slice(0, 15)}\u2026` : text);

  function intervalText(interval) {
    return interval ? ` [${format(interval[0])}, ${format(interval[1])}]` : '';
  }

  function pointText(point) {
    if (point === undefined) return '\u2013';
    if (point.dots?.length > 1) return `${format(point.y)} (mean of ${point.dots.length})`;
    return format(point.y) + intervalText(point.interval ?? point.dots?.[0].interval);
  }

  function swatch(one) {
    const stroke = strokeOf(one);
    return svg(
      'svg',
      {
        class: 'swatch',
        viewBox: '-12 -6 24 12',
        width: 24,
        height: 12,
        'aria-hidden': 'true',
        style: `stroke:${stroke};fill:${stroke}`,
      },
      svg('path', { class: one.isDashed ? 'series dashed' : 'series', d: 'M-12,0H12' }),
      svg('path', { class: 'stand', d: shapeOf(one) }),
    );
  }

  /** A chart's numbers as a table with at most a dozen rows, built when opened. */
  function valuesTable({ heading, xTitle, xs, series, describe }) {
    const every = Math.max(1, Math.ceil(xs.length / 12));
    const rows = xs.filter((_, k) => k % every === 0 || k === xs.length - 1);
    const columns = [
      { title: xTitle, get: (x) => x, show: describe, isHead: true },
      ...series.map(({ name, points }) => {
        const byX = new Map(points.map((point) => [point.x, point]));
        return {
          title: name,
          get: (x) => byX.get(x)?.y,
          show: (x) => (byX.has(x) ? pointText(byX.get(x)) : ''),
          isNumber: true,
        };
      }),
    ];
    const details = el('details', {}, el('summary', {}, 'Values'));
    details.addEventListener('toggle', () => {
      if (details.childElementCount === 1) details.append(report.table(`${heading}: values`, columns, rows));
    });
    return details;
  }

  Object.assign(report, { lineChart, intervalText });
}
