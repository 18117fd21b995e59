/** What every Link has to do, whatever protocol carries it. Each MTP's tests run this against a real peer. */
import { MtpError } from "../../src/mtp/error.ts";
import type { Link, ReceivedRecord } from "../../src/usp/link.ts";

export interface LinkBench {
  /** Two ends that can reach each other. `address` is what the other end sends to. */
  connect(): Promise<{ a: End; b: End }>;
  /** Breaks every connection without a farewell. */
  cut(): Promise<void>;
  /** Makes `connect` possible again after `cut`. */
  restore(): Promise<void>;
  /** Size of a Record that the peer does not accept, where there is such a limit. */
  readonly tooLarge?: number;
}

export interface End {
  readonly link: Link;
  readonly address?: string;
}

export function linkContract(name: string, bench: () => LinkBench): void {
  describe(`${name} as a Link`, () => {
    let ends: { a: End; b: End };
    beforeEach(async () => {
      ends = await bench().connect();
    });
    afterEach(async () => {
      await Promise.all([ends.a.link.close(), ends.b.link.close()]);
    });

    test("carries a Record, and the answer back to where the sender said", async () => {
      const { a, b } = ends;
      await a.link.send(bytes("question"), to(b));
      const asked = await next(b.link);
      expect(text(asked)).toBe("question");
      if (a.address !== undefined) expect(asked.replyTo).toBe(a.address);
      await b.link.send(bytes("answer"), asked.replyTo === undefined ? {} : { to: asked.replyTo });
      expect(text(await next(a.link))).toBe("answer");
    });

    test("keeps every byte and the order, for Records of all sizes", async () => {
      const { a, b } = ends;
      const sizes = [0, 1, 127, 128, 255, 16_383, 16_384, 65_535, 65_536, 200_000, 1, 2, 3];
      const sent = sizes.map((size, at) => Buffer.alloc(size, 0).map((_, i) => (i * 7 + at) & 255));
      const receiving = take(b.link, sent.length);
      await Promise.all(sent.map((record) => a.link.send(record, to(b))));
      const got = await receiving;
      expect(got.map((each) => each.bytes.length)).toEqual(sizes);
      expect(got.every((each, at) => Buffer.from(each.bytes).equals(sent[at] as Buffer))).toBe(true);
    });

    test("holds for a receiver that lags, and loses nothing", async () => {
      const { a, b } = ends;
      const count = 400;
      const sending: Promise<void>[] = [];
      for (let i = 0; i < count; i++) sending.push(a.link.send(bytes(`record ${i} ${"x".repeat(500)}`), to(b)));
      // Nobody takes from b yet.
      await new Promise((resolve) => setTimeout(resolve, 100));
      const got = await take(b.link, count);
      await Promise.all(sending);
      expect(got.map((each) => text(each).split(" ")[1])).toEqual(Array.from({ length: count }, (_, i) => String(i)));
    });

    test("answers each of many before it takes the next, both ways at once", async () => {
      const { a, b } = ends;
      const echo = (async () => {
        for (let i = 0; i < 300; i++) {
          const asked = await next(b.link);
          await b.link.send(asked.bytes, a.address === undefined ? {} : { to: a.address });
        }
      })();
      const asking = Promise.all(Array.from({ length: 300 }, (_, i) => a.link.send(bytes(String(i)), to(b))));
      const answers = await take(a.link, 300);
      await Promise.all([echo, asking]);
      expect(new Set(answers.map(text)).size).toBe(300);
    });

    test("ends what was received when closed, twice if need be, and then sends no more", async () => {
      const { a, b } = ends;
      const rest = collect(a.link);
      await a.link.close();
      await a.link.close();
      expect(await rest).toEqual([]);
      await expect(a.link.send(bytes("late"), to(b))).rejects.toBeInstanceOf(MtpError);
    });

    test("throws at the receiver when the connection breaks, after what came before", async () => {
      const { a, b } = ends;
      const sent = a.link.send(bytes("last words"), to(b));
      expect(text(await next(b.link))).toBe("last words");
      await sent;
      const broken = Promise.all(
        [collect(a.link), collect(b.link)].map((each) => expect(each).rejects.toBeInstanceOf(MtpError)),
      );
      await bench().cut();
      try {
        await broken;
        await expect(a.link.send(bytes("into the void"), to(b))).rejects.toMatchObject({ kind: "closed" });
      } finally {
        await bench().restore();
      }
      // Some brokers take their time to come back.
    }, 90_000);

    test("says which Record is too large, and lives on", async () => {
      const { a, b } = ends;
      const size = bench().tooLarge;
      if (size === undefined) return;
      await expect(a.link.send(Buffer.alloc(size), to(b))).rejects.toMatchObject({ kind: "too-large" });
      await a.link.send(bytes("small"), to(b));
      expect(text(await next(b.link))).toBe("small");
    });
  });
}

function to(end: End): { to?: string } {
  return end.address === undefined ? {} : { to: end.address };
}

function bytes(value: string): Uint8Array {
  return Buffer.from(value);
}

function text(record: ReceivedRecord): string {
  return Buffer.from(record.bytes).toString();
}

/** The next record; the iteration stays open for the ones after it. */
async function next(link: Link): Promise<ReceivedRecord> {
  const [first] = await take(link, 1);
  return first as ReceivedRecord;
}

async function take(link: Link, count: number): Promise<ReceivedRecord[]> {
  const got: ReceivedRecord[] = [];
  for await (const record of link.received) {
    got.push(record);
    if (got.length === count) break;
  }
  return got;
}

async function collect(link: Link): Promise<ReceivedRecord[]> {
  const got: ReceivedRecord[] = [];
  for await (const record of link.received) got.push(record);
  return got;
}
