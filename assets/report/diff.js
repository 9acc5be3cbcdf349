// SPDX-License-Identifier: Apache-2.0
// Words that differ between two responses, and words of doubtful claims.
{
  const { el, format } = report;
  const words = (text) => text.match(/\s+|[^\s]+/g) ?? [];

  /** The words of a and b in their longest common subsequence. Compares only the first 600 words. */
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

  /** The words, those that are not in `common` inside a `tag`, those of doubtful claims underlined. Without `common` no word differs. */
  function marked(parts, common, tag, claims) {
    const doubts = doubtfulWords(parts, claims);
    return parts.map((part, index) => {
      const isSame = common === undefined || common.has(index) || /^\s+$/.test(part);
      const node = isSame ? part : el(tag, {}, part);
      return doubts.has(index) ? el('mark', { title: doubts.get(index) }, node) : node;
    });
  }

  const describeClaim = ({ text, pYes }) => `${text} (P(yes) ${format(pYes)})`;

  const bare = (word) => word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, '');
  // Function words, which do not help to locate a claim.
  const GRAMMAR = new Set(
    'a an the is are was were be been being there it its this that these those in on at of to with and or has have had some'.split(
      ' ',
    ),
  );

  /** The words of the response that a claim is about: the claim verbatim, else its words in the first sentence that has all of its content words. */
  function claimWords(parts, claim) {
    const text = parts.join('').toLowerCase();
    const wanted = claim.text.toLowerCase().replace(/[\s.]+$/, '');
    const start = wanted === '' ? -1 : text.indexOf(wanted);
    const places = [];
    if (start >= 0) {
      for (let index = 0, at = 0; index < parts.length; at += parts[index++].length)
        if (at + parts[index].length > start && at < start + wanted.length) places.push(index);
      return places;
    }
    const needed = new Set(
      words(wanted)
        .map(bare)
        .filter((word) => word !== '' && !GRAMMAR.has(word)),
    );
    for (const sentence of sentencesOf(parts)) {
      const found = sentence.filter((index) => needed.has(bare(parts[index])));
      if (needed.size > 0 && new Set(found.map((index) => bare(parts[index]))).size === needed.size) return found;
    }
    return places;
  }

  /** Indices of the words of each sentence. */
  function sentencesOf(parts) {
    const sentences = [[]];
    for (const [index, part] of parts.entries()) {
      sentences.at(-1).push(index);
      if (/[.!?]["')]*$/.test(part)) sentences.push([]);
    }
    return sentences;
  }

  /** By index of a word: descriptions of its claims. */
  function doubtfulWords(parts, claims) {
    const found = new Map();
    for (const claim of claims)
      for (const index of claimWords(parts, claim))
        found.set(index, [found.get(index), describeClaim(claim)].filter(Boolean).join('; '));
    return found;
  }

  /** The doubtful claims as a list, for readers without a mouse, and because a claim may use other words than the response. */
  function doubtList(claims, text) {
    if (claims.length === 0) return null;
    const parts = words(text);
    const line = (claim) => {
      const isFound = claimWords(parts, claim).length > 0;
      return el(
        'li',
        {},
        'doubtful: ',
        el('mark', {}, describeClaim(claim)),
        !isFound && ', not in these words in the answer',
      );
    };
    return el('ul', { class: 'doubts' }, claims.map(line));
  }

  Object.assign(report, { words, commonWords, marked, doubtList });
}
