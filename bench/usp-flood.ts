/**
 * 500 `Get Device.` sent at once: each is answered, by the whole model or by 7005, and the memory that it takes is bounded.
 * Before them, the memory of an agent that has nothing to do.
 */
import { setTimeout as pause } from "node:timers/promises";
import { contentOf } from "./support/load.ts";
import { memory, resetPeak } from "./support/process.ts";
import { print } from "./support/table.ts";
import { pair, type Side } from "./support/usp-pair.ts";

const REQUESTS = 500;
const PATIENCE_MS = 60_000;
const IDLE_MS = 10_000;

async function main(): Promise<void> {
  const sides = await pair(1, 1);
  try {
    await pause(IDLE_MS);
    const idle = memory(sides.agent.pid);
    print({
      figure: "idle agent, anonymous memory",
      measured: `${idle.anonymous.toFixed(1)} MB (${idle.rss.toFixed(1)} MB RSS)`,
      target: "≤ 30 MB",
      met: idle.anonymous <= 30,
      beside: sides.peer ? `OB-USP-A ${memory(sides.peer.pid).rss.toFixed(1)} MB RSS` : sides.peerName,
    });
  } finally {
    await sides.end();
  }
  // A model of some size: 5,000 parameters besides its own, as OB-USP-A was measured with.
  const larger = await pair(1, 500);
  try {
    const ours = await flood(larger.agent);
    const theirs = larger.peer && (await flood(larger.peer));
    print({
      figure: `${REQUESTS} \`Get Device.\` at once`,
      measured: ours.text,
      target: "each answered or 7005, ≤ 120 MB at the peak",
      met: ours.silent === 0 && ours.peak <= 120,
      beside: theirs
        ? `OB-USP-A (a smaller model): ${theirs.text}`
        : `${larger.peerName}; 221 were never answered elsewhere`,
    });
  } finally {
    await larger.end();
  }
}

async function flood({ load, pid }: Side): Promise<{ silent: number; peak: number; text: string }> {
  let [whole, refused, other] = [0, 0, 0];
  resetPeak(pid);
  const began = performance.now();
  const asked = Array.from({ length: REQUESTS }, async () => {
    const answer = await load.send({ $case: "get", value: { paramPaths: ["Device."], maxDepth: 0 } });
    const content = contentOf(answer);
    if (content.kind === "response" && content.response.$case === "getResp") {
      const [result] = content.response.value.reqPathResults;
      if (result?.errCode === 7005) refused++;
      else whole++;
    } else if (content.kind === "error" && content.error.errCode === 7005) refused++;
    else other++;
  });
  const silence = new AbortController();
  // Where nothing has come for a while, nothing will.
  const quiet = (async () => {
    for (let before = -1; before !== whole + refused + other && performance.now() - began < PATIENCE_MS;) {
      before = whole + refused + other;
      await pause(5000, undefined, { signal: silence.signal });
    }
  })();
  await Promise.race([Promise.all(asked), quiet]);
  const seconds = (performance.now() - began) / 1000;
  silence.abort();
  quiet.catch(() => undefined);
  const silent = REQUESTS - whole - refused - other;
  const { peak } = memory(pid);
  const text = `${whole} whole, ${refused} × 7005, ${other} other, ${silent} never; peak ${peak.toFixed(0)} MB`;
  return { silent, peak, text: silent === 0 ? `${text}; ${seconds.toFixed(1)} s` : text };
}

void main();
