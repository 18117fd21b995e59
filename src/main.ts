/** The program: picks the subcommand, turns signals into one abort, and ends the process with the command's exit code. */
import type { Io } from "./cli/io.ts";
import { VERSION } from "./version.ts";

type Command = (args: string[], io: Io) => Promise<number>;

const COMMANDS: Readonly<Record<string, { readonly summary: string; readonly load: () => Promise<Command> }>> = {
  run: { summary: "the agent, on a gateway", load: async () => (await import("./cli/run.ts")).run },
  ctl: { summary: "the operator's tool: a USP controller", load: async () => (await import("./cli/ctl.ts")).ctl },
  replay: { summary: "what a capture file shows", load: async () => (await import("./cli/replay.ts")).replay },
  doctor: {
    summary: "what this machine can do, and what is missing",
    load: async () => (await import("./cli/doctor.ts")).doctor,
  },
  "import-spin": {
    summary: "rules and names of a SPIN 1.0 that ran here before",
    load: async () => (await import("./cli/import-spin.ts")).importSpin,
  },
  reset: { summary: "back to the configuration", load: async () => (await import("./cli/reset.ts")).reset },
};

const STOP_PATIENCE_MS = 5000;

const USAGE = `Usage: spin-usp COMMAND [OPTION …]

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(11)} ${summary}`)
  .join("\n")}

spin-usp COMMAND --help tells more; spin-usp --version says ${VERSION}.
`;

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-V") {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  if (name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(USAGE);
    return 0;
  }
  const command = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) {
    process.stderr.write(
      name === undefined ? USAGE : `spin-usp: there is no command ${JSON.stringify(name)}\n\n${USAGE}`,
    );
    return 2;
  }
  let run: Command;
  try {
    run = await command.load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "MODULE_NOT_FOUND") throw error;
    // The operator's tools are files of their own, which a gateway may do without.
    process.stderr.write(`spin-usp: ${name} is not installed here: ${(error as Error).message.split("\n")[0]}\n`);
    return 69;
  }
  return run(rest, { stdout: process.stdout, stderr: process.stderr, signal: stopSignal() });
}

function stopSignal(): AbortSignal {
  const control = new AbortController();
  const stop = (signal: NodeJS.Signals) => {
    const code = signal === "SIGINT" ? 130 : 143;
    if (control.signal.aborted) process.exit(code);
    control.abort();
    setTimeout(() => process.exit(code), STOP_PATIENCE_MS).unref();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return control.signal;
}

// A reader that went away (`… | head`) is no error of ours: the exit code stays the command's where it has ended by then.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") process.exit(1);
  setImmediate(() => process.exit());
});

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`spin-usp: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(70);
  },
);
