/** The letters of a Permission row, as bits. */
export const READ = 1;
export const WRITE = 2;
export const EXECUTE = 4;
export const NOTIFY = 8;

/** `rw-n` → bits. */
export function parseRights(text: string): number {
  return (
    (text.includes("r") ? READ : 0) |
    (text.includes("w") ? WRITE : 0) |
    (text.includes("x") ? EXECUTE : 0) |
    (text.includes("n") ? NOTIFY : 0)
  );
}
