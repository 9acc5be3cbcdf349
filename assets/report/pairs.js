// SPDX-License-Identifier: Apache-2.0
// Pairs, one by one: pictures, prompt, chosen and rejected answers with the words that differ.
{
  const { data, el, format, section, note, table, words, commonWords, marked, doubtList } = report;
  const PAGE = 20;

  function answers(pair) {
    const chosen = words(pair.chosen);
    const others = pair.rejected.map((text) => words(text));
    const common = others.map((other) => commonWords(chosen, other));
    const inAll = new Set([...chosen.keys()].filter((index) => common.every(([inChosen]) => inChosen.has(index))));
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
    return el('details', {}, el('summary', {}, 'judge scores of all responses'), table('Judge scores', columns, rows));
  }

  function pairCard(pair) {
    const about = [
      data.files.length > 1 && pair.run,
      pair.rule && `rule ${pair.rule}`,
      pair.view && `view ${pair.view}`,
      pair.id,
    ];
    return el(
      'article',
      { class: 'card' },
      pictures(pair),
      el(
        'div',
        {},
        el('h3', { class: 'prompt' }, pair.prompt),
        answers(pair),
        scoresOf(pair),
        el('p', { class: 'id' }, about.filter(Boolean).join(' \u00b7 ')),
      ),
    );
  }

  report.pairsSection = () => {
    const state = { query: '', order: 'file', page: 0 };
    const list = el('div');
    const where = el('span', { class: 'empty', 'aria-live': 'polite' });
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
    const more =
      data.leftOut.pairs > 0
        ? note(`${format(data.leftOut.pairs)} more pairs are not in this page (--max-pairs).`)
        : null;
    const node = section(
      'pairs',
      `Pairs (${format(data.pairs.length)})`,
      more,
      el('div', { class: 'controls' }, search, order, back, on, where),
      list,
    );
    show();
    return node;
  };
}
