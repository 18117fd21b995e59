/** Options of SPIN 1.0's own interfaces, for tools that were made for it. */
import type { LocalBrokerConfig } from "./local-broker.ts";
import { bool, file, text, type ValuesOf } from "./option.ts";

export const spin1Options = {
  socket: file("The Unix socket that takes SPIN's JSON-RPC, as `/run/spin-usp/spin_rpc.sock`; empty: none."),
  group: text(
    "Group whose members may connect besides the agent's own user and root: they may do what the resident may. Empty: the agent's own group.",
    "",
    /^[A-Za-z0-9_.-]{0,32}$/,
  ),
  mqtt: bool(
    "Publish SPIN's topics (`SPIN/traffic` and below) on the local broker (section local_broker): whoever reads there sees whom the home talks to.",
    false,
  ),
  mqtt_rpc: bool(
    "Take JSON-RPC on `SPIN/jsonrpc/q` too: whoever may publish there may do what the resident may.",
    false,
  ),
} as const;

export type Spin1Config = ValuesOf<typeof spin1Options>;

/** @param hasDoor Whether there is a resident's socket, through which all of it goes */
export function spin1Fault(spin1: Spin1Config, broker: LocalBrokerConfig, hasDoor: boolean): string | undefined {
  const { socket, mqtt, mqtt_rpc, group } = spin1;
  if (mqtt_rpc && !mqtt) return "spin1 option mqtt_rpc needs option mqtt";
  if (mqtt && broker.host === "") return "spin1 option mqtt needs a host in section local_broker";
  if (group === "nogroup") return 'spin1 option group is "nogroup": programs of no trust run in it';
  if (Buffer.byteLength(socket) > 103) return `spin1 option socket is too long; a socket's path may have 103 bytes`;
  if ((socket !== "" || mqtt) && !hasDoor) return "spin1 needs the resident's socket, which is not enabled";
  return undefined;
}
