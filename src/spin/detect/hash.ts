/** Hashes of what detectors tell apart: 32 bits, FNV-1a with a final mix. */

export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return finish(hash);
}

/** Of an address of four words. */
export function hashAddress(words: ArrayLike<number>, offset: number): number {
  let hash = 0x811c9dc5;
  for (let k = 0; k < 4; k++) hash = Math.imul(hash ^ (words[offset + k] as number), 0x85ebca6b) ^ (hash >>> 13);
  return finish(hash);
}

function finish(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x7feb352d);
  mixed ^= mixed >>> 15;
  return mixed >>> 0;
}
