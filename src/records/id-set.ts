// SPDX-License-Identifier: Apache-2.0
// The ids seen so far in 8 bytes each: a million records need a few megabytes.

/** A set of strings kept as 64-bit hashes: among ten million, two collide once in 370,000 runs. */
export class IdSet {
  #slots = new Uint32Array(2 * 4096);
  #size = 0;

  /** False if the id is already in the set. */
  add(id: string): boolean {
    if (this.#size * 4 >= this.#slots.length) this.#grow();
    // Two 32-bit hashes with the multipliers of MurmurHash3, mixed into each other at the end.
    let low = id.length;
    let high = 0x9e3779b9;
    for (let at = 0; at < id.length; at++) {
      const code = id.charCodeAt(at);
      low = Math.imul(low ^ code, 0x85ebca6b);
      low ^= low >>> 15;
      high = Math.imul(high ^ code, 0xc2b2ae35);
      high ^= high >>> 13;
    }
    low = Math.imul(low ^ (high >>> 16), 0xcc9e2d51);
    high = Math.imul(high ^ (low >>> 16), 0x1b873593);
    low ^= low >>> 16;
    high ^= high >>> 15;
    // A slot of two zeros is empty; the id that hashes to it shares a slot with another.
    return this.#insert(low >>> 0, low === 0 && high === 0 ? 1 : high >>> 0);
  }

  #insert(low: number, high: number): boolean {
    const slots = this.#slots;
    const mask = slots.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const at = 2 * slot;
      if (slots[at] === low && slots[at + 1] === high) return false;
      if (slots[at] !== 0 || slots[at + 1] !== 0) continue;
      slots[at] = low;
      slots[at + 1] = high;
      this.#size += 1;
      return true;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2);
    this.#size = 0;
    for (let at = 0; at < old.length; at += 2)
      if (old[at] !== 0 || old[at + 1] !== 0) this.#insert(old[at]!, old[at + 1]!);
  }
}
