/** JSON-RPC 2.0 as SPIN 1.0 spoke it: params by name, exact in number, one request at a time. */
import { METHODS } from "./methods.ts";
import { quoted, Spin1Error, type Spin1Home } from "./home.ts";

/** @returns the answer's text; `undefined` where none is wanted (a notification). Never rejects. */
export async function answer(home: Spin1Home, text: string): Promise<string | undefined> {
  let request: unknown;
  try {
    request = JSON.parse(text);
  } catch {
    return failure(null, -32_700, "Parse error");
  }
  if (typeof request !== "object" || request === null || Array.isArray(request))
    return failure(null, -32_600, "Invalid Request: an object is wanted, batches are not taken");
  const { jsonrpc, method, params = {}, id } = request as Readonly<Record<string, unknown>>;
  const isNotification = id === undefined && jsonrpc === "2.0";
  const key = typeof id === "string" || typeof id === "number" ? id : null;
  try {
    const result = await call(home, jsonrpc, method, params);
    return isNotification ? undefined : JSON.stringify({ jsonrpc: "2.0", result: result ?? null, id: key });
  } catch (error) {
    if (isNotification) return undefined;
    if (error instanceof RpcError) return failure(key, error.code, error.message);
    // What the agent refused, and a connection that broke: in words. A bug of ours too, without its stack.
    return failure(key, -1, error instanceof Error ? error.message : String(error));
  }
}

/** SPIN's own codes: 1 wrong version, 2 no method, 3 params are none; -1, -2 of the call. */
class RpcError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

async function call(home: Spin1Home, version: unknown, method: unknown, params: unknown): Promise<unknown> {
  if (version !== "2.0") throw new RpcError(1, 'jsonrpc must be "2.0"');
  if (typeof method !== "string") throw new RpcError(2, "method must be a string");
  if (typeof params !== "object" || params === null || Array.isArray(params))
    throw new RpcError(3, "params must be an object");
  const known = Object.hasOwn(METHODS, method) ? METHODS[method] : undefined;
  if (!known) throw new RpcError(-2, `there is no method ${quoted(method)}; list_rpc_methods tells which there are`);
  const given = params as Readonly<Record<string, unknown>>;
  const names = known.args.map(([name]) => name);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new RpcError(-1, `${method} has no parameter ${quoted(unknown)}`);
  for (const [name, kind] of known.args) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    const fits =
      kind === "complex"
        ? value !== undefined
        : kind === "int"
          ? Number.isSafeInteger(value)
          : typeof value === "string" && !/\p{Cc}/u.test(value);
    if (!fits) throw new RpcError(-1, `${method} needs ${name}, of type ${kind}`);
  }
  try {
    return await known.run(home, given);
  } catch (error) {
    if (error instanceof Spin1Error) throw new RpcError(-1, error.message);
    throw error;
  }
}

const failure = (id: string | number | null, code: number, message: string) =>
  JSON.stringify({ jsonrpc: "2.0", error: { code, message }, id });
