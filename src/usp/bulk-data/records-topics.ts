/** Where USP Records are awaited by MQTT. No report goes there: it could be taken for a Record in somebody's name. */
import type { ModelTree } from "../../model/implementation.ts";

/** Objects and their parameters that say to which topics or filters somebody listens. */
const LISTENERS = [
  ["Device.LocalAgent.MTP.{i}.MQTT.", "ResponseTopicConfigured"],
  ["Device.LocalAgent.MTP.{i}.MQTT.", "ResponseTopicDiscovered"],
  ["Device.LocalAgent.Controller.{i}.MTP.{i}.MQTT.", "Topic"],
  ["Device.MQTT.Client.{i}.Subscription.{i}.", "Topic"],
] as const;

/** Whether the agent or a controller listens there, or would if it were enabled, at whatever broker. */
export function isForRecords(tree: ModelTree, topic: string): boolean {
  return LISTENERS.some(([path, name]) => {
    const object = tree.object(path);
    if (!object) return false;
    for (const node of tree.all(object)) if (delivers(tree.text(node, name) ?? "", topic)) return true;
    return false;
  });
}

/** Whether the filter matches the topic, or one above it: by MQTT 3.1.1 `/reply-to=…` follows a topic of Records. */
function delivers(filter: string, topic: string): boolean {
  if (filter === "") return false;
  const wanted = filter.replace(/^\$share\/[^/]*\//, "").split("/");
  const given = topic.split("/");
  for (const [at, level] of wanted.entries()) {
    if (level === "#") return true;
    if (level !== "+" && level !== given[at]) return false;
    if (level === "+" && at >= given.length) return false;
  }
  return true;
}
