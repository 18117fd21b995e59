/**
 * Certificates, keys, passwords and the like that the configuration names and that can't be read. Told when the agent
 * starts: what needs one of them tries again, and says why when it fails, but that may be long after.
 */
import { accessSync, constants } from "node:fs";
import type { Config } from "../config.ts";

/** What DHCP writes. */
const COMES_LATER: ReadonlySet<string> = new Set(["discovery_file"]);

/** In words, one a file. */
export function unreadableFiles(config: Config): string[] {
  const { agent, mqtt, stomp, websockets, controllers, bulkData, notice, localBroker } = config;
  const named = (type: string, sections: readonly { readonly name: string }[]) =>
    sections.map((section) => [`${type} '${section.name}'`, section] as const);
  return [
    ["agent", agent] as const,
    ...named("mqtt", mqtt),
    ...named("stomp", stomp),
    ...named("websocket", websockets),
    ...named("controller", controllers),
    ["bulk_data", bulkData] as const,
    ["notice", notice] as const,
    ["local_broker", localBroker] as const,
  ].flatMap(([section, options]) =>
    Object.entries(options)
      .filter(([option]) => option.endsWith("_file") && !COMES_LATER.has(option))
      .flatMap(([option, value]) => [value].flat().map((path) => [option, path as string] as const))
      .filter(([, path]) => path.startsWith("/"))
      .flatMap(([option, path]) => {
        const why = reason(path);
        return why === undefined ? [] : [`${section} option ${option}: ${why}`];
      }),
  );
}

function reason(path: string): string | undefined {
  try {
    accessSync(path, constants.R_OK);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
