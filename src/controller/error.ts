/** What went wrong between a controller and its agent, other than the agent's own refusals, which are UspErrors. */
export class ControllerError extends Error {
  override readonly name = "ControllerError";
  constructor(
    /** No answer in time · the connection is gone · the answer makes no sense. */
    readonly kind: "timeout" | "closed" | "protocol",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
