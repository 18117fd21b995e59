/** `Device.X_BENCH.`: a synthetic model for benchmarks and outside judges, present only with `--bench-model N`. */
import { argument, command, event, object, readOnly, readWrite } from "./schema.ts";
import { string, unsignedInt } from "./values.ts";

const text = string({ maxLength: 65536 });
const seconds = unsignedInt({ max: 3600, units: "seconds" });

export const Bench = object("Device.X_BENCH.", {
  description: "Synthetic objects of known size and behaviour.",
  params: {
    Mem: readWrite(text, "Kept in memory."),
    Db: readWrite(text, "Kept on disk: the answer to a Set waits for it."),
    Secret: readWrite(text, "Secured.", { secured: true }),
  },
  commands: {
    "Ping()": command("sync", "Answers."),
    "Slow()": command("sync", "Answers after a while.", {
      input: { Seconds: argument(seconds, "How long.", { mandatory: true }) },
    }),
    "Echo()": command("sync", "Answers what it is told.", {
      input: {
        Text: argument(text, "What.", { mandatory: true }),
        Times: argument(unsignedInt({ max: 1000 }), "How often.", { default: 1 }),
      },
      output: { Text: argument(text, "Text, Times over.") },
    }),
    "Wait()": command("async", "Completes after a while; can be cancelled.", {
      input: { Seconds: argument(seconds, "How long.", { mandatory: true }) },
      output: { Waited: argument(unsignedInt({ units: "milliseconds" }), "How long it was.") },
    }),
    "MakeOwn()": command("sync", "The device itself adds a row of Own.", {
      output: { Path: argument(string(), "Path of the row.") },
    }),
    "DropOwn()": command("sync", "The device itself removes the newest row of Own.", {
      output: { Path: argument(string(), "Path that the row had.") },
    }),
    "Fire()": command("sync", "Sends Fired!.", { input: { Text: argument(text, "What it says.") } }),
  },
  events: { "Fired!": event("Fire() was called.", { Text: argument(text, "What it was told.") }) },
});

export const BenchRow = object("Device.X_BENCH.Row.{i}.", {
  description: "As many rows as `--bench-model` says.",
  maxRows: Infinity,
  params: {
    P1: readOnly(text, "Text."),
    P2: readOnly(text, "Text."),
    P3: readOnly(text, "Text."),
    P4: readOnly(text, "Text."),
    P5: readOnly(text, "Text."),
    P6: readOnly(text, "Text."),
    P7: readOnly(text, "Text."),
    P8: readOnly(text, "Text."),
    P9: readOnly(text, "Text."),
    P10: readOnly(text, "Text."),
  },
});

export const BenchObj = object("Device.X_BENCH.Obj.{i}.", {
  description: "Rows that controllers add and delete.",
  functionalKeys: [["Name"]],
  rows: "add-delete",
  maxRows: 100_000,
  params: { Name: readWrite(text, "Unique."), Value: readWrite(text, "Anything.") },
});

export const BenchOwn = object("Device.X_BENCH.Own.{i}.", {
  description: "Rows that the device itself adds and removes.",
  maxRows: 100_000,
  params: { Value: readOnly(text, "Anything.") },
});
