// SPDX-License-Identifier: Apache-2.0
// Pairs, one by one: images, prompt, chosen and rejected responses with their differing words.
{
  const {
    data,
    el,
    format,
    count,
    section,
    note,
    table,
    words,
    commonWords,
    marked,
    doubtList,
    browse,
    pictures,
    picturesNote,
  } = report;
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
      doubtList(doubts, pair.chosen),
      ...others.flatMap((other, index) => [
        el(
          'p',
          { class: 'answer rejected' },
          el('b', {}, `rejected${score([pair.rejectedScore].flat()[index])}`),
          marked(other, common[index][1], 'del', otherDoubts[index] ?? []),
        ),
        doubtList(otherDoubts[index] ?? [], pair.rejected[index]),
      ]),
    ];
  }

  function pairPictures(pair) {
    return pictures([
      ...pair.images.map((index) => [index, 'image']),
      ...pair.rejectedImages.map((index) => [index, pair.view || 'distorted image']),
    ]);
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
      pairPictures(pair),
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

  const gap = (pair) => (pair.chosenScore ?? 0) - Math.max(...[pair.rejectedScore ?? 0].flat());
  const shorter = (pair) => pair.chosen.length - (pair.rejected[0] ?? '').length;
  const numDoubts = ({ doubtfulClaims = [] }) => doubtfulClaims.flat().length;

  report.pairsSection = () =>
    section(
      'pairs',
      `Pairs (${format(data.pairs.length)})`,
      data.leftOut.pairs > 0 &&
        note(`${count(data.leftOut.pairs, 'more pair is', 'more pairs are')} not in this page (--max-pairs).`),
      picturesNote(),
      browse('pair', data.pairs, {
        card: pairCard,
        textOf: (pair) => [pair.id, pair.prompt, pair.chosen, ...pair.rejected].join('\n'),
        orders: {
          'largest score difference': (a, b) => gap(b) - gap(a),
          'longest chosen': (a, b) => b.chosen.length - a.chosen.length,
          'chosen shorter than rejected': (a, b) => shorter(a) - shorter(b),
          ...(data.pairs.some(numDoubts) && { 'most doubtful claims': (a, b) => numDoubts(b) - numDoubts(a) }),
        },
      }),
    );
}
