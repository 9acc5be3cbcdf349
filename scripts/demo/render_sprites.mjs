// SPDX-License-Identifier: Apache-2.0
// Renders the 48 sprites used by scenes.py from Microsoft's Fluent Emoji (flat style, MIT).
//   npm i @iconify-json/fluent-emoji-flat@1.2.6 @resvg/resvg-js && node render_sprites.mjs OUT_DIR

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.cwd(), 'x.js'));
const { Resvg } = require('@resvg/resvg-js');
const set = JSON.parse(readFileSync(require.resolve('@iconify-json/fluent-emoji-flat/icons.json'), 'utf8'));
// class name -> emoji name
export const SPRITES = {
  banana: 'banana',
  apple: 'red-apple',
  pizza: 'pizza',
  bread: 'bread',
  carrot: 'carrot',
  cup: 'hot-beverage',
  cow: 'cow',
  pig: 'pig',
  horse: 'horse',
  sheep: 'ewe',
  rooster: 'rooster',
  tractor: 'tractor',
  car: 'automobile',
  bus: 'oncoming-bus',
  bicycle: 'bicycle',
  truck: 'delivery-truck',
  'traffic light': 'vertical-traffic-light',
  'stop sign': 'stop-sign',
  boat: 'sailboat',
  fish: 'fish',
  whale: 'spouting-whale',
  crab: 'crab',
  dolphin: 'dolphin',
  shell: 'spiral-shell',
  laptop: 'laptop',
  book: 'closed-book',
  phone: 'mobile-phone',
  clock: 'alarm-clock',
  pencil: 'pencil',
  scissors: 'scissors',
  tree: 'deciduous-tree',
  flower: 'sunflower',
  butterfly: 'butterfly',
  bee: 'honeybee',
  mushroom: 'mushroom',
  snail: 'snail',
  cat: 'cat',
  dog: 'dog',
  chair: 'chair',
  bed: 'bed',
  television: 'television',
  teddy: 'teddy-bear',
  ball: 'soccer-ball',
  basketball: 'basketball',
  guitar: 'guitar',
  kite: 'kite',
  trophy: 'trophy',
  drum: 'drum',
};
const out = process.argv[2] ?? 'sprites';
mkdirSync(out, { recursive: true });
for (const [cls, name] of Object.entries(SPRITES)) {
  const icon = set.icons[name] ?? set.icons[set.aliases?.[name]?.parent];
  if (!icon) {
    console.error('missing', name);
    process.exitCode = 1;
    continue;
  }
  const w = icon.width ?? set.width ?? 32,
    h = icon.height ?? set.height ?? 32;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}">${icon.body}</svg>`;
  writeFileSync(
    path.join(out, `${cls.replace(' ', '_')}.png`),
    new Resvg(svg, { fitTo: { mode: 'width', value: 96 } }).render().asPng(),
  );
}
