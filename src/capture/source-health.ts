/** The state of a source while it runs; the port's `Health`, writable. */
import type { Health } from "../spin/observation.ts";

export class SourceHealth implements Health {
  backend = "";
  status: Health["status"] = "Disabled";
  observations = 0;
  lost = 0;
  passedOver = 0;
  resyncs = 0;
  decodeErrors = 0;
  lastError = "";

  /** Works, through this backend; with a reason: works less well than it could. */
  running(backend: string, reason = ""): void {
    this.backend = backend;
    this.status = reason === "" ? "Running" : "Degraded";
    if (reason !== "") this.lastError = reason;
  }

  failed(reason: string): void {
    this.status = "Error";
    this.lastError = reason;
  }
}
