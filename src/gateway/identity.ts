/** Who this gateway is: from the configuration, else from the hardware address of its first LAN interface. */
import { networkInterfaces } from "node:os";
import { ConfigError, type Config } from "../config.ts";
import type { Store } from "../lib/store.ts";
import type { Identity } from "../objects/device-info.ts";
import { endpointIdFault, endpointIdOf } from "../lib/endpoint-id.ts";

export interface GatewayIdentity extends Identity {
  readonly endpointId: string;
}

const DOCUMENT = "identity";
const SERVICE_ID = "self::spin-usp";

/** What was derived once stays, whatever card is plugged in later. @throws ConfigError */
export function identityOf({ agent, capture, service }: Config, version: string, store: Store): GatewayIdentity {
  const derived = agent.oui !== "" && agent.serial_number !== "" ? undefined : derive(store, capture.interface);
  const oui = agent.oui === "" ? (derived?.oui ?? "") : agent.oui.toUpperCase();
  const serialNumber = agent.serial_number === "" ? (derived?.serialNumber ?? "") : agent.serial_number;
  const given = process.env["USP_ENDPOINT_ID"] ?? "";
  const fault = given === "" ? undefined : endpointIdFault(given);
  if (fault !== undefined) throw new ConfigError(`USP_ENDPOINT_ID is "${given}": ${fault}`);
  // What the device is called is the broker's name, and nobody speaks to one of its own name (R-ARC.2).
  const derivedId = () => (service.enable ? SERVICE_ID : endpointIdOf({ oui, serialNumber }));
  const endpointId = given || agent.endpoint_id || derivedId();
  return {
    endpointId,
    oui,
    serialNumber,
    manufacturer: agent.manufacturer,
    model: agent.model,
    productClass: agent.product_class,
    hardwareVersion: agent.hardware_version,
    softwareVersion: agent.software_version === "" ? version : agent.software_version,
  };
}

interface Derived {
  readonly oui: string;
  readonly serialNumber: string;
}

function derive(store: Store, lanInterfaces: readonly string[]): Derived {
  const kept = store.load(DOCUMENT);
  if (isDerived(kept)) return kept;
  const all = networkInterfaces();
  const names = [...lanInterfaces, "br-lan", ...Object.keys(all).sort()];
  const mac = names
    .flatMap((name) => all[name] ?? [])
    .map((address) => address.mac.replaceAll(":", "").toUpperCase())
    .find((text) => text !== "000000000000");
  if (mac === undefined)
    throw new ConfigError(
      "no network interface has a hardware address: set option oui and option serial_number in agent",
    );
  const derived = { oui: mac.slice(0, 6), serialNumber: mac };
  void store.save(DOCUMENT, derived).catch(() => undefined); // derived again if the disk refuses
  return derived;
}

const isDerived = (value: unknown): value is Derived =>
  typeof value === "object" && value !== null && "oui" in value && "serialNumber" in value;
