/** `npm run soak [-- MINUTES]`: prints a table with a verdict a line; exits with 1 if one is not met. */
import { sceneMissing } from "./scene.ts";
import { soak } from "./soak.ts";

const DEFAULT_MINUTES = 20;

async function main(argument: string | undefined): Promise<void> {
  const minutes = Number(argument ?? DEFAULT_MINUTES);
  const missing = sceneMissing();
  if (!(minutes > 0) || minutes > 24 * 60 || missing !== undefined) {
    console.error(missing === undefined ? `soak: ${argument} is no number of minutes` : `soak: ${missing}`);
    process.exitCode = 2;
    return;
  }
  console.log(`${minutes} min; ${process.platform} ${process.arch}, ${process.version}\n`);
  const verdicts = await soak(Math.max(5, Math.round(minutes * 60)));
  console.log("| what | measured | target | |\n|---|---|---|---|");
  for (const { what, measured, target, met } of verdicts)
    console.log(`| ${what} | ${measured} | ${target} | ${met ? "met" : "MISSED"} |`);
  if (verdicts.some(({ met }) => !met)) process.exitCode = 1;
}

void main(process.argv[1]);
