/** MQTT topics as TR-369 uses them: reply topics in 3.1.1's topic names, and which subscriptions a connection makes. */

const REPLY_TO = "/reply-to=";

/** The topic to publish to in MQTT 3.1.1, which has no Response Topic: `topic/reply-to=own%2Ftopic` (R-MQTT.24). */
export function withReplyTo(topic: string, ownTopic: string): string {
  const encoded = ownTopic.replace(/[%/+#]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `${topic}${REPLY_TO}${encoded}`;
}

/** The reply topic in a 3.1.1 topic name: what follows the last `/reply-to=`; `undefined` if there is none to publish to. */
export function replyToOf(topic: string): string | undefined {
  const at = topic.lastIndexOf(REPLY_TO);
  if (at < 0) return undefined;
  const text = topic.slice(at + REPLY_TO.length);
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    // Some senders escape nothing but the slash, and endpoint ids may hold a percent sign.
    decoded = text.replace(/%2f/gi, "/");
  }
  return isTopicName(decoded) ? decoded : undefined;
}

/** Whether one can publish to it: not empty, no wildcard, no NUL, short enough for the protocol. */
export function isTopicName(topic: string): boolean {
  return topic !== "" && !/[+#\u0000]/.test(topic) && Buffer.byteLength(topic) <= 65_535;
}

/** Whether one can subscribe to it: wildcards only as whole levels, `#` only as the last. */
export function isTopicFilter(filter: string): boolean {
  if (filter === "" || filter.includes("\u0000") || Buffer.byteLength(filter) > 65_535) return false;
  const levels = filter.split("/");
  return levels.every((level, at) => {
    if (level === "#") return at === levels.length - 1;
    return level === "+" || !/[+#]/.test(level);
  });
}

/** Whether a subscription to `filter` delivers `topic`, which may itself be a filter (then: all that it delivers). */
export function covers(filter: string, topic: string): boolean {
  const wanted = filter.split("/");
  const given = topic.split("/");
  for (const [at, level] of wanted.entries()) {
    if (level === "#") return true;
    if (at >= given.length || given[at] === "#") return false;
    if (level !== "+" && level !== given[at]) return false;
    // "a/#" delivers "a" too.
    if (at === given.length - 1 && wanted.length === at + 2 && wanted[at + 1] === "#") return true;
  }
  return wanted.length === given.length;
}

export interface Subscription {
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
}

export interface Wanted {
  readonly version: "5" | "3.1.1";
  readonly configured: readonly Subscription[];
  /** Values of the user property `subscribe-topic` of the CONNACK (R-MQTT.15). */
  readonly announced: readonly string[];
  /** Response Information of the CONNACK. */
  readonly responseInformation: string | undefined;
  /** ResponseTopicConfigured. */
  readonly responseTopic: string | undefined;
  /** Of topics that come without one. */
  readonly qos: 0 | 1 | 2;
}

/** What to subscribe to, and where answers to us go (R-MQTT.14 to .16, .21). Filters that are none are left out. */
export function planSubscriptions(wanted: Wanted): { subscriptions: Subscription[]; replyTopic: string | undefined } {
  const subscriptions: Subscription[] = [];
  const add = (topic: string, qos: 0 | 1 | 2) => {
    if (isTopicFilter(topic) && !subscriptions.some((other) => other.topic === topic))
      subscriptions.push({ topic, qos });
  };
  for (const { topic, qos } of wanted.configured) add(topic, qos);
  for (const topic of wanted.announced) add(topic, wanted.qos);
  const own = wanted.responseInformation ?? wanted.responseTopic;
  if (own !== undefined) {
    // A 3.1.1 sender appends its own reply topic to ours.
    const filter = wanted.version === "3.1.1" && !own.endsWith("#") ? `${own}/#` : own;
    if (!subscriptions.some((other) => covers(other.topic, filter))) add(filter, wanted.qos);
  }
  const exact = [own, ...subscriptions.map((each) => each.topic.replace(/\/#$/, ""))];
  return { subscriptions, replyTopic: exact.find((topic) => topic !== undefined && isTopicName(topic)) };
}
