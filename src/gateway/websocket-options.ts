/** What the configuration adds to the WebSocket rows of the model: addresses, files, and the permission to use plaintext. */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { ControllerConfig } from "../config/controller.ts";
import { isLoopback } from "../config/option.ts";
import type { WebSocketConfig } from "../config/websocket.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { MtpError } from "../mtp/error.ts";
import type { TlsOptions, TlsServerOptions } from "../mtp/tls.ts";
import type { WebSocketClientOptions } from "../mtp/websocket-client.ts";
import type { WebSocketServerOptions } from "../mtp/websocket-server.ts";
import { revocationLists } from "./broker-files.ts";
import type { ConnectorOptions } from "./connector.ts";

/** Of the row that the section seeds, by which it is known again. */
export const webSocketAlias = (name: string): string => `cpe-${name}`.slice(0, 64);

/**
 * Of a `Device.LocalAgent.MTP.{i}.` row and its settings. A row that a controller made takes what the first section says.
 * @throws MtpError address
 */
export function serverOptions(
  mtp: InstanceNode,
  settings: InstanceNode,
  { tree, config, endpointId, maxRecordBytes }: ConnectorOptions,
): WebSocketServerOptions {
  const text = (name: string) => tree.text(settings, name) as string;
  const alias = tree.text(mtp, "Alias");
  const section = config.websockets.find(({ name }) => webSocketAlias(name) === alias) ?? config.websockets[0];
  const isTls = text("EnableEncryption") === "true";
  const listen = section?.listen ?? [];
  const addresses = listen.length === 0 ? [""] : listen.flatMap(addressesOf);
  const isOpen = addresses.some((address) => !isLoopback(address));
  if (!isTls && isOpen && section?.allow_plaintext !== true)
    throw new MtpError(
      "address",
      `${settings.path}EnableEncryption is false: to listen beyond this machine it needs option allow_plaintext '1' in websocket '${section?.name ?? ""}'`,
    );
  return {
    addresses,
    port: Number(text("Port")),
    path: absolute(text("Path")),
    endpointId,
    keepAliveMs: keepAliveMs(text("KeepAliveInterval")),
    limits: { recordBytes: maxRecordBytes },
    ...(isTls
      ? { tls: { ...serverTls(section), ...revocationLists(config), anyIssuer: () => judgesCertificates(tree) } }
      : {}),
  };
}

/** @throws MtpError address, where no interface has that name, yet. */
function addressesOf(listen: string): string[] {
  if (isIP(listen) !== 0) return [listen];
  // Link-local addresses are reached by who names a zone: nobody who has a URL.
  const all = (networkInterfaces()[listen] ?? []).map(({ address }) => address).filter((each) => !/^fe80:/i.test(each));
  if (all.length === 0) throw new MtpError("address", `the interface ${listen} is not there, or has no address`);
  return all;
}

function serverTls(section: WebSocketConfig | undefined): TlsServerOptions {
  const [cert, key] = [readFile(section, "cert_file"), readFile(section, "key_file")];
  const ca = readFile(section, "ca_file");
  if (cert === undefined || key === undefined)
    throw new MtpError("address", `TLS needs cert_file and key_file in websocket '${section?.name ?? ""}'`);
  const clientCertificates = section?.client_certificates ?? "require";
  return { cert, key, clientCertificates, ...(ca === undefined ? {} : { ca }) };
}

/**
 * Whether the model has something to say of controllers' certificates: then whom the file of authorities does not cover is
 * let in, and judged by the agent before it is heard.
 */
function judgesCertificates(tree: Tree): boolean {
  const trust = "Device.LocalAgent.ControllerTrust.";
  const isSet = (path: string, name: string, unset: string) => {
    const object = tree.object(path);
    return object !== undefined && [...tree.all(object)].some((node) => tree.text(node, name) !== unset);
  };
  return (
    isSet(trust, "TOFUAllowed", "false") ||
    isSet(`${trust}Credential.{i}.`, "Credential", "") ||
    isSet("Device.LocalAgent.Controller.{i}.", "Credential", "")
  );
}

/**
 * Of the settings of a `Device.LocalAgent.Controller.{i}.MTP.{i}.` row.
 * @param peer The controller's endpoint id.
 * @throws MtpError address
 */
export function clientOptions(
  settings: InstanceNode,
  peer: string,
  { tree, config, endpointId, maxRecordBytes }: ConnectorOptions,
): WebSocketClientOptions {
  const text = (name: string) => tree.text(settings, name) as string;
  const section = config.controllers.find(({ endpoint_id }) => endpoint_id === peer);
  const isTls = text("EnableEncryption") === "true";
  const host = text("Host");
  if (!isTls && !isLoopback(host) && section?.allow_plaintext !== true)
    throw new MtpError(
      "address",
      `${host} is beyond this machine: without TLS it needs option allow_plaintext '1' in controller '${section?.name ?? peer}'`,
    );
  const authority = `${host.includes(":") ? `[${host}]` : host}:${text("Port")}`;
  return {
    url: `${isTls ? "wss" : "ws"}://${authority}${absolute(text("Path"))}`,
    endpointId,
    peer,
    keepAliveMs: keepAliveMs(text("KeepAliveInterval")),
    limits: { recordBytes: maxRecordBytes },
    ...(isTls ? { tls: { ...clientTls(section), ...revocationLists(config), endpointId: peer } } : {}),
  };
}

function clientTls(section: ControllerConfig | undefined): TlsOptions {
  const part = (option: "ca_file" | "cert_file" | "key_file", key: keyof TlsOptions) => {
    const content = readFile(section, option);
    return content === undefined ? {} : { [key]: content };
  };
  return { ...part("ca_file", "ca"), ...part("cert_file", "cert"), ...part("key_file", "key") };
}

type Files = Partial<Readonly<Record<"ca_file" | "cert_file" | "key_file", string>>>;

function readFile(section: Files | undefined, option: keyof Files): Buffer | undefined {
  const path = section?.[option] ?? "";
  if (path === "") return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new MtpError("address", `option ${option}: ${(error as Error).message}`);
  }
}

const absolute = (path: string) => (path.startsWith("/") ? path : `/${path}`);

/** What a timer takes at most. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const keepAliveMs = (seconds: string) => Math.min(1000 * Number(seconds), MAX_TIMER_MS);
