// SPDX-License-Identifier: Apache-2.0
// Whether a template takes contents as texts or as parts: found by rendering, since no pattern on the source shows it.
import { RunError } from '../records/error.ts';
import type { ContentPart } from '../records/record.ts';

/** How images stand in a text. */
export interface ImageMarks {
  /** What stands for one. */
  mark: string;
  /** The training put images on lines of their own. */
  onOwnLine: boolean;
}

export type ContentKind = 'string' | 'parts';

const PROBE = 'Vprefcontentprobe';

/**
 * Renders a word as a text and as parts and looks whether it comes out, and whether an image part does something. Texts where both work and there
 * are no images; parts where images are. Throws RunError{"template"} where neither works.
 */
export function probeContentKind(render: (messages: unknown[]) => string, hasVision: boolean): ContentKind {
  const attempt = (content: unknown): string | RunError => {
    try {
      return render([{ role: 'user', content }]);
    } catch (cause) {
      if (cause instanceof RunError) return cause;
      throw cause;
    }
  };
  const textPart = { type: 'text', text: PROBE };
  const [asText, asParts] = [attempt(PROBE), attempt([textPart])];
  const shows = (made: string | RunError) => typeof made === 'string' && made.includes(PROBE);
  // A list that is printed shows its type.
  const takesParts = shows(asParts) && !/['"]type['"]: ['"]text['"]/.test(asParts as string);
  if (shows(asText) && !hasVision) return 'string';
  if (takesParts) {
    const withImage = attempt([{ type: 'image' }, textPart]);
    if (!shows(asText) || (typeof withImage === 'string' && withImage !== asParts)) return 'parts';
  }
  if (shows(asText)) return 'string';
  const why = [asText, asParts].flatMap((made) => (made instanceof RunError ? [made.message] : []));
  throw new RunError(
    'template',
    `chat template: expected one that writes the contents of a user turn, as a text or as parts {type, text}; ${why[0] ?? 'it writes neither'}`,
  );
}

/** Parts as one text: images in front stand on lines of their own where the training put them so, others where they are. */
export function stringContent(content: readonly ContentPart[], { mark, onOwnLine }: ImageMarks): string {
  const leading = content.findIndex((part) => part.type !== 'image');
  return content
    .map((part, index) => (part.type === 'text' ? part.text : onOwnLine && index < leading ? `${mark}\n` : mark))
    .join('');
}
