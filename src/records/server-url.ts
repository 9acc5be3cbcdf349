// SPDX-License-Identifier: Apache-2.0
// A server's URL as given by the user. A login in it is sent in a header, and neither printed nor stored.

/** A URL without its login. */
export interface ServerUrl {
  url: string;
  /** Authorization header for the login, if the URL has one. */
  login: { authorization?: string };
}

/** Splits the login from an http(s) URL; undefined if the text is not a URL. */
export function splitLogin(text: string): ServerUrl | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (!/^https?:$/.test(url.protocol)) return undefined;
  if (url.username === '' && url.password === '') return { url: text, login: {} };
  const pair = `${decoded(url.username)}:${decoded(url.password)}`;
  url.username = '';
  url.password = '';
  return {
    url: url.href.replace(/\/$/, ''),
    login: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` },
  };
}

function decoded(text: string): string {
  return /^(?:[^%]|%[0-9a-f]{2})*$/i.test(text) ? decodeURIComponent(text) : text;
}

/** A hint about a 404; empty if the URL has its version part. */
export function versionHint(url: string, flag: string): string {
  const hasVersion = /\/v\d+[a-z0-9]*(?:\/|$)/.test(new URL(url).pathname);
  return hasVersion ? '' : ` (${flag} wants the URL with its version part, such as http://host:8000/v1)`;
}

/** The text without the logins in its URLs (between :// and @). */
export function withoutLogins(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@"']*(?:@[^\s/?#@"']*)*@/gi, '$1');
}

/** Secrets in these headers that must never be printed: keys, and a login with its password. */
export function headerSecrets(headers: Record<string, string>): string[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (!/^(?:authorization|x-api-key|x-goog-api-key)$/i.test(name)) return [];
    const [, kind, secret] = /^(Bearer|Basic) (.*)$/.exec(value) ?? [];
    if (kind !== 'Basic') return [secret ?? value];
    const pair = Buffer.from(secret!, 'base64').toString();
    return [secret!, pair, pair.slice(pair.indexOf(':') + 1)];
  });
}
