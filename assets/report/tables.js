// SPDX-License-Identifier: Apache-2.0
// Tables of stages (rows kept and dropped), files and judges.
{
  const { el, format, countsText, section, note, table } = report;
  const { stages, files, judges, judgePairs } = report.data;
  const total = (counts) => Object.values(counts).reduce((sum, n) => sum + n, 0);

  /** The rows of a stage as a bar: kept, dropped, failed. */
  function stageBar({ read, dropped, failed }) {
    const lost = total(dropped);
    const parts = [
      ['kept', read - lost - failed],
      ['dropped', lost],
      ['failed', failed],
    ].filter(([, n]) => n > 0);
    const title = parts.map(([name, n]) => `${name} ${format(n)}`).join(', ') || 'no rows';
    const pieces = parts.map(([name, n]) => {
      const piece = el('span', { class: name });
      piece.style.flexGrow = String(n);
      return piece;
    });
    return el('span', { class: 'shares', title, role: 'img', 'aria-label': title }, pieces);
  }

  report.stagesSection = () => {
    const cost = ({ cost: dollars }) =>
      dollars === null ? 'not known' : dollars === undefined ? '' : `${dollars.toFixed(2)} USD`;
    const columns = [
      { title: 'stage', get: ({ stage }) => stage, isHead: true },
      ...(stages.length > 1 ? [{ title: 'file', get: ({ run }) => run }] : []),
      { title: 'kept, dropped, failed', isPlain: true, get: () => undefined, show: stageBar },
      { title: 'rows in', get: ({ read }) => read, isNumber: true },
      { title: 'rows out', get: ({ written }) => written, isNumber: true },
      { title: 'dropped', get: ({ dropped }) => total(dropped), isNumber: true, isCount: true },
      { title: 'failed', get: ({ failed }) => failed, isNumber: true, isCount: true },
      { title: 'why dropped', get: ({ dropped }) => countsText(dropped), isText: true },
      { title: 'answers left out', get: ({ leftOut }) => countsText(leftOut), isText: true },
      { title: 'calls', get: ({ requests }) => requests, isNumber: true, isCount: true },
      { title: 'from cache', get: ({ cached }) => cached, isNumber: true, isCount: true },
      { title: 'tokens', get: ({ tokens }) => tokens, isNumber: true, isCount: true },
      { title: 'cost', get: cost, isNumber: true },
      { title: 'about', get: ({ notes }) => notes.join('; '), isText: true },
    ];
    return section(
      'stages',
      'Stages',
      note('What each stage kept and dropped, and why; what a judge cost.'),
      table('Stages', columns, stages),
    );
  };

  report.filesSection = () => {
    const count = (title, key) => ({ title, get: (row) => row[key], isNumber: true, isCount: key !== 'rows' });
    const columns = [
      { title: 'file', get: ({ run }) => run, isHead: true },
      count('rows', 'rows'),
      count('with views', 'withViews'),
      count('with responses', 'withResponses'),
      count('annotated', 'annotated'),
      count('pairs', 'pairs'),
      count('with reference', 'withReference'),
      { title: 'failed', get: ({ failed }) => countsText(failed), isText: true },
    ];
    return section(
      'files',
      'Records',
      note('What each file holds: a stage that drops rows shows as a smaller number than the file before it.'),
      table('Records', columns, files),
    );
  };

  report.judgesSection = () => {
    const columns = [
      { title: 'judge', get: ({ judge }) => judge, isHead: true },
      { title: 'guide', get: ({ guide }) => guide },
      { title: 'file', get: ({ run }) => run },
      { title: 'entries', get: ({ entries }) => entries, isNumber: true },
      { title: 'outcomes', get: ({ outcomes }) => countsText(outcomes) },
      { title: 'usage', get: ({ usage }) => countsText(usage) },
    ];
    const agreement = judges.flatMap(({ judge, guide, agreement: figures }) =>
      Object.entries(figures).map(([metric, one]) => ({ judge, guide, metric, ...one })),
    );
    const between = judgePairs.flatMap(({ judges: two, guide, agreement: figures }) =>
      Object.entries(figures).map(([metric, one]) => ({ judge: two.join(' and '), guide, metric, ...one })),
    );
    const agreementColumns = [
      { title: 'judge', get: ({ judge }) => judge, isHead: true },
      { title: 'guide', get: ({ guide }) => guide },
      { title: 'metric', get: ({ metric }) => metric },
      { title: 'equal', get: ({ equal }) => equal, show: ({ equal }) => `${(100 * equal).toFixed(1)} %` },
      {
        title: 'mean difference',
        get: ({ meanDifference }) => meanDifference,
        show: ({ meanDifference }) => format(meanDifference),
      },
      { title: 'scores compared', get: ({ n }) => n, isNumber: true },
    ];
    const titled = (title, rows) => rows.length > 0 && [el('h3', {}, title), table(title, agreementColumns, rows)];
    return section(
      'judges',
      'Judges',
      table('Judges', columns, judges),
      titled('Agreement between runs of one judge', agreement),
      titled('Agreement between judges', between),
    );
  };
}
