// SPDX-License-Identifier: Apache-2.0
// The page: its sections in order, and their redrawing.
{
  const { data, el } = report;
  const parts = [
    [data.runs.names.length > 0, 'runsSection'],
    [data.curves.length > 0, 'curvesSection'],
    [data.byCharts.length > 0, 'bySection'],
    [data.scores.length > 0, 'scoresSection'],
    [data.samples.length > 0, 'samplesSection'],
    [data.pairs.length > 0, 'pairsSection'],
    [data.checked.length > 0, 'checkedSection'],
    [data.stages.length > 0, 'stagesSection'],
    [data.files.length > 0, 'filesSection'],
    [data.judges.length > 0, 'judgesSection'],
  ];
  const body = parts.filter(([isThere]) => isThere).map(([, name]) => report[name]());
  const links = report.sections.map(([id, title]) => el('a', { href: `#${id}` }, title));
  const navigation = el('nav', { 'aria-label': 'Sections' }, links);
  document.getElementById('report').replaceChildren(el('h1', {}, data.title), navigation, ...body);
  if (data.curves.length > 0) report.drawCurves();
  const drawAll = () => {
    for (const draw of [...report.redraws, ...(report.byDraws ?? [])]) draw();
  };
  drawAll();
  let resize;
  addEventListener('resize', () => {
    clearTimeout(resize);
    resize = setTimeout(drawAll, 150);
  });
}
