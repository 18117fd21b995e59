/** The codec lives with the schemas; agent and handlers import it from here, and message types as `wire`. */
export * from "../../proto/codec.ts";
export * as wire from "../../proto/generated/usp-msg.ts";
