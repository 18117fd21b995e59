/** Text that is drawn over on a terminal, with lines said once above it; elsewhere now and then a copy of it. */
import { fit } from "../src/cli/text.ts";

const PLAIN_INTERVAL_MS = 5000;

export class Screen {
  readonly #isTerminal = process.stdout.isTTY === true;
  #height = 0;
  #current = "";
  /** What was printed last where nothing can be drawn over. */
  #printed = "";
  #printedAt = -Infinity;

  /** Columns that a picture may have. */
  get width(): number {
    return this.#isTerminal ? (process.stdout.columns || 80) - 1 : 120;
  }

  /** A line that stays; broken between words where it is wider than the terminal. */
  say(line: string): void {
    this.#clear();
    process.stdout.write(`${this.#isTerminal ? wrap(line, this.width) : line}\n`);
    if (this.#isTerminal) this.#print();
  }

  draw(text: string): void {
    this.#current = text;
    if (this.#isTerminal) {
      this.#clear();
      this.#print();
    } else if (performance.now() - this.#printedAt >= PLAIN_INTERVAL_MS) this.#printPlain();
  }

  /** The last picture stays. */
  end(): void {
    if (!this.#isTerminal) this.#printPlain();
    this.#height = 0;
    this.#current = "";
  }

  #printPlain(): void {
    if (this.#current === this.#printed) return;
    this.#printed = this.#current;
    this.#printedAt = performance.now();
    process.stdout.write(`\n${this.#current}\n`);
  }

  #print(): void {
    if (this.#current === "") return;
    const picture = fit(this.#current, { columns: this.width, rows: (process.stdout.rows || 24) - 1 });
    process.stdout.write(`\n${picture}\n`);
    this.#height = picture.split("\n").length + 1;
  }

  #clear(): void {
    if (this.#height > 0) process.stdout.write(`\u001b[${this.#height}A\u001b[J`);
    this.#height = 0;
  }
}

function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}
