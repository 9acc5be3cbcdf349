// SPDX-License-Identifier: Apache-2.0
// The page's building blocks. The files of this folder run in order in the browser; each adds its exports to `report`.

const report = { data: JSON.parse(document.getElementById('data').textContent), sections: [] };

{
  const SVG = 'http://www.w3.org/2000/svg';

  /** Element with properties and children; strings become text nodes, so data is never parsed as HTML. Names with a dash are attributes. */
  function el(tag, properties = {}, ...children) {
    return filled(document.createElement(tag), properties, children);
  }

  /** The same in SVG, where all properties are attributes. */
  function svg(tag, properties = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
    return filled(node, {}, children);
  }

  function filled(node, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
      if (value === undefined || value === null) continue;
      if (name === 'class') node.className = value;
      else if (name === 'role' || name.includes('-')) node.setAttribute(name, value);
      else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node[name] = value;
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

  function format(value) {
    if (typeof value !== 'number') return value === null || value === undefined ? '' : String(value);
    if (Number.isInteger(value)) return value.toLocaleString('en');
    if (Math.abs(value) < 0.001) return value.toExponential(2);
    return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toFixed(3)));
  }

  /** A number with its noun: "1 pair", "2 pairs"; `many` where a verb follows. */
  const count = (value, one, many = `${one}s`) => `${format(value)} ${value === 1 ? one : many}`;

  function formatTick(value) {
    if (Math.abs(value) >= 1e5) return compact.format(value);
    return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(6)));
  }

  /** Shows the numbers of a column with equal decimals, so they can be compared. */
  function columnFormat(values) {
    const numbers = values.filter((value) => typeof value === 'number');
    const largest = numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (numbers.every(Number.isInteger) || (largest > 0 && largest < 0.01)) return format;
    const digits = largest >= 10 ? 2 : 3;
    return (value) => (typeof value === 'number' ? value.toFixed(digits) : format(value));
  }

  const countsText = (counts) =>
    Object.entries(counts)
      .map(([why, n]) => `${why} ${format(n)}`)
      .join(', ');

  /** A section of the page; also adds it to the navigation. */
  function section(id, title, ...children) {
    report.sections.push([id, title]);
    return el('section', { id, 'aria-labelledby': `${id}-title` }, el('h2', { id: `${id}-title` }, title), ...children);
  }

  const note = (...text) => el('p', { class: 'note' }, ...text);

  function groupBy(values, keyOf) {
    const groups = new Map();
    for (const value of values) {
      const key = keyOf(value);
      if (groups.has(key)) groups.get(key).push(value);
      else groups.set(key, [value]);
    }
    return groups;
  }

  // --- tables ---------------------------------------------------------------------------------------------------------------

  /** Rows that a table shows at first. */
  const SHOWN = 100;

  const isEmpty = (value) => value === undefined || value === null || value === '';

  /**
   * A table of rows. A column: {title, get(row), show?(row), isNumber?, isText?, group?, isPlain?, isCount?}. `get` gives the value to show and sort by, `show` another text
   * for it. Columns without values, and counts that are all 0, are omitted. Headers sort.
   */
  function table(caption, allColumns, rows) {
    const hasValue = ({ get, show, isCount, isPlain }) =>
      rows.some((row) => {
        const value = get(row);
        return show !== undefined && value === undefined ? isPlain : !isEmpty(value) && !(isCount && value === 0);
      });
    const columns = allColumns.filter(hasValue);
    const state = { order: rows, numShown: SHOWN };
    const body = el('tbody');
    const more = el('button', { type: 'button', class: 'more', onclick: showAll });
    const headers = columns.map((column) => header(column, (isUp) => sort(column, isUp)));

    function showRows() {
      body.replaceChildren(
        ...state.order.slice(0, state.numShown).map((row) =>
          el(
            'tr',
            {},
            columns.map((column) => cell(column, row)),
          ),
        ),
      );
      more.hidden = rows.length <= state.numShown;
      more.textContent = `Show ${count(rows.length - state.numShown, 'more row')}`;
    }
    function showAll() {
      state.numShown = rows.length;
      showRows();
    }
    function sort(column, isUp) {
      const sign = isUp ? 1 : -1;
      const keyed = rows.map((row) => [column.get(row), row]);
      const [known, unknown] = [keyed.filter(([key]) => !isEmpty(key)), keyed.filter(([key]) => isEmpty(key))];
      known.sort(([a], [b]) => sign * compare(a, b));
      state.order = [...known, ...unknown].map(([, row]) => row);
      for (const one of headers) one.removeAttribute('aria-sort');
      headers[columns.indexOf(column)].setAttribute('aria-sort', isUp ? 'ascending' : 'descending');
      showRows();
    }
    showRows();
    const head = el('thead', {}, groupRow(columns), el('tr', {}, headers));
    return el(
      'div',
      {},
      el('div', { class: 'scroll', tabIndex: 0, role: 'group', 'aria-label': caption }, el('table', {}, head, body)),
      more,
    );
  }

  const compare = (a, b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));

  function header(column, sort) {
    const side = column.isNumber ? 'number' : '';
    if (column.isPlain) return el('th', { class: side, scope: 'col' }, column.title);
    const node = el('th', { class: side, scope: 'col' });
    const turn = () =>
      sort(node.getAttribute('aria-sort') === 'none' || node.getAttribute('aria-sort') !== 'ascending');
    node.append(el('button', { type: 'button', class: 'sort', onclick: turn }, column.title));
    return node;
  }

  /** Group headings over adjacent columns. */
  function groupRow(columns) {
    if (columns.every(({ group }) => group === undefined)) return null;
    const groups = [];
    for (const { group = '' } of columns) {
      if (groups.at(-1)?.group === group) groups.at(-1).span += 1;
      else groups.push({ group, span: 1 });
    }
    return el(
      'tr',
      { class: 'groups' },
      groups.map(({ group, span }) =>
        group === '' ? el('td', { colSpan: span }) : el('th', { colSpan: span, scope: 'colgroup' }, group),
      ),
    );
  }

  function cell({ get, show, isNumber, isText, isHead }, row) {
    const value = show === undefined ? format(get(row)) : show(row);
    const properties = { class: isNumber ? 'number' : isText ? 'text' : '', ...(isHead && { scope: 'row' }) };
    return el(isHead ? 'th' : 'td', properties, value);
  }

  Object.assign(report, {
    el,
    svg,
    format,
    count,
    formatTick,
    countsText,
    columnFormat,
    section,
    note,
    groupBy,
    table,
  });
}
