// SPDX-License-Identifier: Apache-2.0
// Responses over the steps of training, and responses with checked claims.
{
  const { data, el, format, count, section, note, words, commonWords, marked, doubtList, browse, pictures } = report;

  const stepsOf = ({ from, to }) => (from === to ? `step ${format(from)}` : `steps ${format(from)} to ${format(to)}`);

  /** One run's responses side by side; words that are new since the previous one are marked. */
  function strip({ run, answers, numLeftOut }, isNamed) {
    const cards = answers.map((answer, k) => {
      const parts = words(answer.text);
      const before = k > 0 ? words(answers[k - 1].text) : parts;
      const text = marked(parts, commonWords(before, parts)[1], 'ins', []);
      return el(
        'p',
        { class: 'answer' },
        el('b', {}, stepsOf(answer)),
        answer.text === '' ? el('i', {}, 'empty') : text,
      );
    });
    const name = `${run}: ${answers.length === 1 ? 'one answer' : `${answers.length} answers`}`;
    return [
      isNamed && el('h4', {}, run),
      numLeftOut > 0 &&
        note(`${count(numLeftOut, 'response in between is', 'responses in between are')} not in this page.`),
      el('div', { class: 'samples', tabIndex: 0, role: 'group', 'aria-label': name }, cards),
    ];
  }

  function sampleCard({ id, prompt, images, runs }) {
    const isNamed = new Set(data.samples.flatMap((item) => item.runs.map(({ run }) => run))).size > 1;
    return el(
      'article',
      { class: 'card' },
      pictures(images.map((index) => [index, 'image'])),
      el(
        'div',
        {},
        el('h3', { class: 'prompt' }, prompt || id),
        runs.map((run) => strip(run, isNamed)),
        prompt && el('p', { class: 'id' }, id),
      ),
    );
  }

  report.samplesSection = () =>
    section(
      'samples',
      'Answers while training',
      note(
        'The same prompts at several steps (train --sample-every), greedily answered; words that the answer before did not have are marked. Steps with the same answer stand together.',
      ),
      data.leftOut.samples > 0 &&
        note(`${count(data.leftOut.samples, 'more prompt is', 'more prompts are')} not in this page.`),
      browse('prompt', data.samples, {
        card: sampleCard,
        textOf: ({ id, prompt, runs }) =>
          [id, prompt, ...runs.flatMap(({ answers }) => answers.map(({ text }) => text))].join('\n'),
        orders: { 'most changes': (a, b) => numAnswers(b) - numAnswers(a) },
      }),
    );

  const numAnswers = ({ runs }) => Math.max(...runs.map(({ answers }) => answers.length));

  function checkedCard({ id, run, prompt, images, answers }) {
    const shown = answers.map(({ text, name, numClaims, doubtful }, k) => [
      el(
        'p',
        { class: 'answer' },
        el('b', {}, `${name || k + 1}: ${doubtful.length} of ${numClaims} claims doubtful`),
        marked(words(text), undefined, 'span', doubtful),
      ),
      doubtList(doubtful, text),
    ]);
    return el(
      'article',
      { class: 'card' },
      pictures(images.map((index) => [index, 'image'])),
      el(
        'div',
        {},
        el('h3', { class: 'prompt' }, prompt),
        shown,
        el('p', { class: 'id' }, [data.files.length > 1 && run, id].filter(Boolean).join(' \u00b7 ')),
      ),
    );
  }

  const numDoubts = ({ answers }) => answers.reduce((sum, { doubtful }) => sum + doubtful.length, 0);

  report.checkedSection = () =>
    section(
      'checked',
      `Answers whose claims were checked (${format(data.checked.length)})`,
      note('Underlined: words of claims with P(yes) below 0.5.'),
      data.leftOut.checked > 0 &&
        note(`${count(data.leftOut.checked, 'more record is', 'more records are')} not in this page (--max-pairs).`),
      browse('record', data.checked, {
        card: checkedCard,
        textOf: ({ id, prompt, answers }) => [id, prompt, ...answers.map(({ text }) => text)].join('\n'),
        orders: { 'most doubtful claims': (a, b) => numDoubts(b) - numDoubts(a) },
      }),
    );
}
