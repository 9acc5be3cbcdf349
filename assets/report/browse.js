// SPDX-License-Identifier: Apache-2.0
// A list of cards in pages, with search and order; and their images.
{
  const { data, el, format, note } = report;
  const PAGE = 20;

  /** `kind`: the word for one of them. `card(item)` is built on display; `textOf(item)` is searched; `orders`: comparisons by name. */
  report.browse = (kind, items, { card, textOf, orders = {} }) => {
    const state = { query: '', order: undefined, page: 0 };
    const list = el('div');
    const where = el('span', { class: 'empty', role: 'status' });
    let texts;
    const found = () => {
      if (state.query === '') return items;
      texts ??= items.map((item) => textOf(item).toLowerCase());
      return items.filter((_, index) => texts[index].includes(state.query));
    };
    function show() {
      const matching = found();
      const compare = orders[state.order];
      const sorted = compare ? matching.slice().sort(compare) : matching;
      const last = Math.max(0, Math.ceil(sorted.length / PAGE) - 1);
      state.page = Math.min(state.page, last);
      const from = state.page * PAGE;
      list.replaceChildren(...sorted.slice(from, from + PAGE).map(card));
      const range = `${format(from + 1)}-${format(Math.min(sorted.length, from + PAGE))} of ${format(sorted.length)}`;
      where.textContent = sorted.length === 0 ? `no ${kind} matches` : range;
      back.disabled = state.page === 0;
      on.disabled = state.page === last;
    }
    const change = (changes) => {
      Object.assign(state, changes, 'page' in changes ? {} : { page: 0 });
      show();
    };
    const search = el('input', {
      type: 'search',
      placeholder: 'search prompts and answers',
      ariaLabel: `search ${kind}s`,
      oninput: ({ target }) => change({ query: target.value.toLowerCase() }),
    });
    const names = Object.keys(orders);
    const order = el(
      'select',
      { ariaLabel: `order of the ${kind}s`, onchange: ({ target }) => change({ order: target.value }) },
      ['file order', ...names].map((name) => el('option', { value: name }, name)),
    );
    const turn = (by) => () => {
      change({ page: state.page + by });
      list.parentElement.scrollIntoView();
    };
    const back = el('button', { type: 'button', onclick: turn(-1) }, 'Previous');
    const on = el('button', { type: 'button', onclick: turn(1) }, 'Next');
    show();
    const isShort = items.length <= PAGE;
    const controls = el('div', { class: 'controls' }, search, names.length > 0 && order, !isShort && [back, on], where);
    return el('div', {}, items.length > 1 && controls, list);
  };

  /** Pictures by [index, caption]. */
  report.pictures = (shown) => {
    const figures = shown
      .filter(([index]) => data.pictures[index])
      .map(([index, caption]) =>
        el(
          'figure',
          {},
          el('img', { src: data.pictures[index], alt: caption, loading: 'lazy' }),
          el('figcaption', {}, caption),
        ),
      );
    const isMissing = figures.length === 0 && shown.length > 0;
    return el(
      'div',
      { class: 'pictures' },
      figures,
      isMissing && el('span', { class: 'empty' }, 'picture not included'),
    );
  };

  report.picturesNote = () => {
    const numMissing = data.pictures.filter((picture) => picture === null).length;
    return (
      numMissing > 0 &&
      note(
        `${format(numMissing)} of ${format(data.pictures.length)} pictures are not in this page: beyond --max-images, or not readable.`,
      )
    );
  };
}
