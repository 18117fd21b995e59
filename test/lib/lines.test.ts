import { runLines } from "../../src/lib/lines.ts";

const run = async (script: string, signal = new AbortController().signal) => {
  const lines: string[] = [];
  const end = await runLines(["sh", "-c", script], signal, (line) => lines.push(line));
  return { lines, end };
};

describe("a program's lines", () => {
  test("come one by one, however the output was cut", async () => {
    const { lines, end } = await run("printf 'one\\ntw'; sleep 0.05; printf 'o\\n\\nthree\\n'");
    expect(lines).toEqual(["one", "two", "", "three"]);
    expect(end).toEqual({ code: 0, reason: "", missing: false });
  });

  test("end with why, in the program's words", async () => {
    const { end } = await run("echo 'no such table' >&2; exit 3");
    expect(end).toMatchObject({ code: 3, reason: "sh exited with 3: no such table" });
  });

  test("stop at the signal, and that is no error", async () => {
    const stop = new AbortController();
    const running = run("echo up; exec sleep 60", stop.signal);
    setTimeout(() => stop.abort(), 50);
    expect((await running).end).toEqual({ code: 0, reason: "", missing: false });
  });

  test("of a program that is not there say so", async () => {
    const end = await runLines(["/nonexistent/tool"], new AbortController().signal, () => undefined);
    expect(end).toMatchObject({ missing: true, reason: "/nonexistent/tool: ENOENT" });
  });

  test("without an end are dropped rather than kept for ever", async () => {
    const { lines } = await run("head -c 300000 /dev/zero | tr '\\0' x; echo; echo after");
    expect(lines.at(-1)).toBe("after");
    expect(lines[0]?.length).toBeLessThan(200_000);
  });

  test("that our own code cannot take are our own error", async () => {
    const failing = runLines(["sh", "-c", "echo one; exec sleep 60"], new AbortController().signal, () => {
      throw new TypeError("bug");
    });
    await expect(failing).rejects.toThrow("bug");
  });
});
