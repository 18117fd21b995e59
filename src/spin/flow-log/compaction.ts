/** A device's file written anew: small neighbours become one block, so that the index stays small and searches short. */
import { seal, type Block } from "./block.ts";
import { MAX_BLOCK_ROWS } from "./codec.ts";
import type { LogFiles } from "./files.ts";
import { LogRows } from "./rows.ts";

/** The sealed blocks of the new file. What is damaged is left out. */
export async function compacted(
  blocks: readonly Block[],
  read: (block: Block) => LogRows | undefined,
  files: Pick<LogFiles, "read">,
): Promise<Buffer[]> {
  const sealed: Buffer[] = [];
  let held = new LogRows(MAX_BLOCK_ROWS);
  const flush = async () => {
    if (held.length > 0) sealed.push(await seal(held, 0, held.length, 0, 0));
    held = new LogRows(MAX_BLOCK_ROWS);
  };
  for (const block of blocks) {
    if (held.length + block.rows > MAX_BLOCK_ROWS) await flush();
    if (block.rows > MAX_BLOCK_ROWS / 2 && held.length === 0) {
      const bytes = files.read(block.file, block.at, block.length);
      if (bytes.length === block.length) sealed.push(Buffer.from(bytes));
      continue;
    }
    const rows = read(block);
    for (let row = 0; rows && row < rows.length; row++) held.copy(rows, row);
  }
  await flush();
  return sealed;
}
