// SPDX-License-Identifier: Apache-2.0
// Python's strftime in the C locale, for a date given as text.
import { TemplateError } from './jinja/values.ts';

const DATE = /^(\d{4})-(\d{2})-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2}))?)?$/;
const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Whether `text` is a date: YYYY-MM-DD, or with THH:MM[:SS]. */
export function isDate(text: string): boolean {
  const match = DATE.exec(text);
  return match !== null && !Number.isNaN(Date.parse(`${text}Z`.replace(/^(.{10})Z$/, '$1')));
}

/** `date` (YYYY-MM-DD, midnight unless it has a time) in a format of Python's. Throws TemplateError for an unsupported directive. */
export function strftime(format: string, date: string): string {
  const parts = DATE.exec(date);
  if (parts === null) throw new TemplateError(`strftime_now: expected a date YYYY-MM-DD, got ${JSON.stringify(date)}`);
  const [year, month, day, hour, minute, second] = parts.slice(1).map((part) => Number(part ?? 0)) as number[];
  const weekday = new Date(Date.UTC(year!, month! - 1, day!)).getUTCDay();
  const two = (value: number | undefined) => String(value ?? 0).padStart(2, '0');
  const directives: Record<string, string> = {
    '%': '%',
    Y: String(year),
    y: two(year! % 100),
    m: two(month),
    d: two(day),
    B: MONTHS[month! - 1]!,
    b: MONTHS[month! - 1]!.slice(0, 3),
    A: DAYS[weekday]!,
    a: DAYS[weekday]!.slice(0, 3),
    H: two(hour),
    I: two(hour! % 12 || 12),
    M: two(minute),
    S: two(second),
    p: hour! < 12 ? 'AM' : 'PM',
    '-d': String(day),
    '-m': String(month),
  };
  return format.replace(/%(-?.?)/gs, (_, directive: string) => {
    const value = Object.hasOwn(directives, directive) ? directives[directive] : undefined;
    if (value === undefined) throw new TemplateError(`strftime_now: %${directive} is not supported`);
    return value;
  });
}
