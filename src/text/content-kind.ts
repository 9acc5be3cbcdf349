// SPDX-License-Identifier: Apache-2.0
// Finds whether a template takes contents as texts or as parts, by rendering, because the source does not show it reliably.
import { RunError } from '../records/error.ts';
import type { ContentPart } from '../records/record.ts';

/** Marks of images in a text. */
export interface ImageMarks {
  /** The mark of an image. */
  mark: string;
  /** Whether training put images on separate lines. */
  onOwnLine: boolean;
}

export type ContentKind = 'string' | 'parts';

const PROBE = 'Vprefcontentprobe';

/**
 * Renders a word as a text and as parts, and checks whether it is printed, and whether an image part has an effect. If both work: texts without
 * images, parts with images. Throws RunError{"template"} if neither works.
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
  // A printed list shows its `type` key.
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

/** Parts as one text: leading images are on separate lines if training had them so; others keep their position. */
export function stringContent(content: readonly ContentPart[], { mark, onOwnLine }: ImageMarks): string {
  const leading = content.findIndex((part) => part.type !== 'image');
  return content
    .map((part, index) => (part.type === 'text' ? part.text : onOwnLine && index < leading ? `${mark}\n` : mark))
    .join('');
}
