import fc from "fast-check";
import { covers, isTopicFilter, isTopicName, replyToOf, withReplyTo } from "../../src/mtp/mqtt-topics.ts";

describe("reply topics of MQTT 3.1.1", () => {
  test("come back as they were, whatever they hold", () => {
    const topic = fc.string({ unit: "grapheme", minLength: 1 }).filter(isTopicName);
    fc.assert(fc.property(topic, topic, (to, own) => expect(replyToOf(withReplyTo(to, own))).toBe(own)));
  });
  test.each([
    ["usp/agent", undefined],
    ["usp/agent/reply-to=", undefined],
    ["usp/agent/reply-to=ctl2%2Fin", "ctl2/in"],
    ["usp/agent/reply-to=ctl2%2fin", "ctl2/in"],
    ["usp/agent/reply-to=a/reply-to=b", "b"],
    ["usp/agent/reply-to=100%%2Fx", "100%/x"],
    ["usp/agent/reply-to=a%2B", undefined],
    ["usp/agent/reply-to=a%2F#", undefined],
    ["usp/agent/reply-to=a%00", undefined],
  ])("%s is answered at %s", (topic, expected) => expect(replyToOf(topic)).toBe(expected));
});

test.each([
  ["a/b", "a/b", true],
  ["a/b", "a/c", false],
  ["a/b", "a", false],
  ["a", "a/b", false],
  ["#", "a/b/c", true],
  ["a/#", "a", true],
  ["a/#", "a/b/c", true],
  ["a/#", "b", false],
  ["+/b", "a/b", true],
  ["+", "a/b", false],
  ["a/+/#", "a", false],
  ["a/+/#", "a/b", true],
  ["a/+", "a/#", false],
  ["a/#", "a/+/c", true],
  ["a/b", "a/#", false],
])("the filter %s delivers %s: %s", (filter, topic, expected) => expect(covers(filter, topic)).toBe(expected));

test.each([
  ["a/b", true],
  ["#", true],
  ["a/+/b/#", true],
  ["a/#/b", false],
  ["a+/b", false],
  ["a/b#", false],
  ["", false],
  ["x".repeat(65_536), false],
])("whether %j is a filter: %s", (filter, expected) => expect(isTopicFilter(filter)).toBe(expected));
