// SPDX-License-Identifier: Apache-2.0
// The table of runs, one row per run, with the choice of runs to draw as curves.
{
  const { el, count, table, columnFormat, section, note } = report;
  const { runs, curves } = report.data;
  /** Runs whose curves are drawn at first; as many as there are colours. */
  const DRAWN = 8;

  /** Names of the runs whose curves are drawn. */
  report.drawn = new Set(curves.slice(0, DRAWN).map(({ name }) => name));

  function duration(seconds) {
    const whole = Math.round(seconds);
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const two = (value) => String(value).padStart(2, '0');
    return seconds < 60
      ? `${Number(seconds.toFixed(1))} s`
      : h > 0
        ? `${h}:${two(m)}:${two(s)} h`
        : `${m}:${two(s)} min`;
  }

  function bytes(value) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, value)) / 10));
    return `${Number((value / 1024 ** power).toFixed(power > 2 ? 2 : 0))} ${units[power]}`;
  }

  const units = { seconds: duration, bytes };

  /** The format of a column's values. */
  function cellFormat({ group, values, unit }) {
    // Settings are shown with all digits.
    const number = units[unit] ?? (group === 'Settings' ? String : columnFormat(values.map(sortKey)));
    return (value) => {
      if (value === null) return el('span', { class: 'empty' }, '\u2013');
      if (typeof value !== 'object') return typeof value === 'number' ? number(value) : value;
      return el(
        'span',
        {},
        number(value.value),
        el('span', { class: 'interval' }, ` [${value.interval.map(number).join(', ')}]`),
      );
    };
  }

  const sortKey = (value) => (value !== null && typeof value === 'object' ? value.value : value);

  function drawBox(name) {
    if (!curves.some((curve) => curve.name === name)) return '';
    const change = (event) => {
      if (event.target.checked) report.drawn.add(name);
      else report.drawn.delete(name);
      report.drawCurves();
    };
    return el('input', {
      type: 'checkbox',
      checked: report.drawn.has(name),
      ariaLabel: `draw the curves of ${name}`,
      onchange: change,
    });
  }

  report.runsSection = () => {
    const columns = [
      { title: 'run', get: (k) => runs.names[k], isHead: true },
      ...(curves.length > 1
        ? [{ title: 'drawn', isPlain: true, get: () => undefined, show: (k) => drawBox(runs.names[k]) }]
        : []),
      ...runs.columns.map(({ group, title, unit, values }) => {
        const show = cellFormat({ group, values, unit });
        return {
          group,
          title,
          get: (k) => sortKey(values[k]),
          show: (k) => show(values[k]),
          isNumber: values.some((value) => value !== null && typeof value !== 'string'),
          isText: values.some((value) => typeof value === 'string' && value.length > 24),
        };
      }),
    ];
    const shared = runs.shared.map(([name, value]) => `${name} ${value}`).join(', ');
    return section(
      'runs',
      'Runs',
      runs.columns.some(({ values }) => values.some((value) => value?.interval)) && note('In brackets: 95 % interval.'),
      table('Runs', columns, [...runs.names.keys()]),
      runs.numLeftOut > 0 && note(`${count(runs.numLeftOut, 'more run is', 'more runs are')} not in this table.`),
      shared &&
        el(
          'details',
          {},
          el('summary', {}, runs.names.length > 1 ? 'Settings that are the same in all' : 'Settings'),
          el('p', { class: 'settings' }, shared),
        ),
    );
  };
}
