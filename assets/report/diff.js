// SPDX-License-Identifier: Apache-2.0
// Words in which two answers differ, and words of claims that are doubted.
{
  const { el, format } = report;
  const words = (text) => text.match(/\s+|[^\s]+/g) ?? [];

  /** Which words of a and b are in their longest common subsequence. Long texts are compared by their first 600 words. */
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

  function marked(parts, common, tag, doubtful) {
    const doubts = doubtfulWords(parts, doubtful);
    return parts.map((part, index) => {
      const node = common.has(index) || /^\s+$/.test(part) ? part : el(tag, {}, part);
      return doubts.has(index) ? el('mark', { title: doubts.get(index) }, node) : node;
    });
  }

  const describeClaim = ({ text, pYes }) => `${text} (P(yes) ${format(pYes)})`;

  /** Which words are of a doubtful claim that stands in the text word for word, and what is said of it. */
  function doubtfulWords(parts, claims) {
    const text = parts.join('').toLowerCase();
    const found = new Map();
    for (const claim of claims) {
      const start = text.indexOf(claim.text.toLowerCase().replace(/[\s.]+$/, ''));
      const end = start + claim.text.length;
      for (let index = 0, at = 0; start >= 0 && index < parts.length; at += parts[index++].length)
        if (at + parts[index].length > start && at < end) found.set(index, describeClaim(claim));
    }
    return found;
  }

  /** The doubtful claims in words: a split may say them otherwise than the text. */
  function doubtList(claims) {
    return claims.length === 0
      ? null
      : el(
          'ul',
          { class: 'doubts' },
          ...claims.map((claim) => el('li', {}, 'doubtful: ', el('mark', {}, describeClaim(claim)))),
        );
  }

  Object.assign(report, { words, commonWords, marked, doubtList });
}
