/** Text that is drawn over on a terminal, with lines said once above it; elsewhere now and then a copy of it. */
const PLAIN_INTERVAL_MS = 5000;

export class Screen {
  readonly #isTerminal = process.stdout.isTTY === true;
  #height = 0;
  #current = "";
  #printedAt = -Infinity;

  /** A line that stays. */
  say(line: string): void {
    this.#clear();
    process.stdout.write(`${line}\n`);
    if (this.#isTerminal) this.#print();
  }

  draw(text: string): void {
    this.#current = text;
    if (this.#isTerminal) {
      this.#clear();
      this.#print();
    } else if (performance.now() - this.#printedAt >= PLAIN_INTERVAL_MS) {
      this.#printedAt = performance.now();
      process.stdout.write(`\n${text}\n`);
    }
  }

  /** The last picture stays. */
  end(): void {
    this.#height = 0;
    this.#current = "";
  }

  #print(): void {
    if (this.#current === "") return;
    const width = process.stdout.columns || 120;
    const lines = this.#current.split("\n").map((line) => [...line].slice(0, width - 1).join(""));
    process.stdout.write(`\n${lines.join("\n")}\n`);
    this.#height = lines.length + 1;
  }

  #clear(): void {
    if (this.#height > 0) process.stdout.write(`\u001b[${this.#height}A\u001b[J`);
    this.#height = 0;
  }
}
