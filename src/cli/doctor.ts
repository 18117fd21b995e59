/** `spin-usp doctor`: what this machine can do, how the agent fares, and the remedy for each thing that is missing. */
import { parseArgs } from "node:util";
import { ConfigError, parseConfig } from "../config.ts";
import { allChecks, configMissing, type Check } from "../gateway/checks.ts";
import { VERSION } from "../version.ts";
import type { Io } from "./io.ts";
import { printJson, type Json } from "./json.ts";
import { CONFIG_FILES, configFile, readConfig } from "./run.ts";
import { escapeText } from "./text.ts";

const USAGE = `Usage: spin-usp doctor [--config FILE] [--json]

Changes nothing. Without a configuration it looks at the machine alone.
Run it as the user that runs the agent, or as root, to see what that user sees.
Exit codes: 0 nothing fails; 1 something does; 2 wrong use or configuration.
`;

export async function doctor(args: string[], { stdout, stderr }: Io): Promise<number> {
  let values;
  try {
    values = parseArgs({
      args,
      options: {
        config: { type: "string", short: "c" },
        json: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    stderr.write(`spin-usp doctor: ${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (values.help) {
    stdout.write(USAGE);
    return 0;
  }
  try {
    // A machine without a configuration is told what it can do all the same.
    const isThere = configFile(values.config) !== undefined;
    const checks = isThere
      ? await allChecks(readConfig(values.config))
      : [configMissing(CONFIG_FILES), ...(await allChecks(parseConfig(""), { machineOnly: true }))];
    stdout.write(values.json ? `${printJson({ Version: VERSION, Check: checks.map(toJson) })}\n` : print(checks));
    return checks.some(({ state }) => state === "fail") ? 1 : 0;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    stderr.write(`spin-usp doctor: ${error.message}\n`);
    return 2;
  }
}

function toJson({ topic, name, state, found, remedy }: Check): Json {
  return { Topic: topic, Name: name, State: state, Found: found, Remedy: remedy };
}

const MARK = { ok: "ok  ", warn: "WARN", fail: "FAIL" } as const;

function print(checks: readonly Check[]): string {
  const lines = [`spin-usp ${VERSION}`];
  let topic = "";
  for (const check of checks) {
    if (check.topic !== topic) lines.push("", check.topic);
    topic = check.topic;
    lines.push(`  ${MARK[check.state]} ${check.name}: ${check.found}`);
    if (check.remedy) lines.push(`       → ${check.remedy}`);
  }
  return `${lines.map(escapeText).join("\n")}\n`;
}
