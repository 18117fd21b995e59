import fc from "fast-check";
import { endpointIdFault, endpointIdOf, isEndpointId } from "../../src/lib/endpoint-id.ts";

test.each([
  "os::0005CA-serial",
  "ops::0005CA-class-serial",
  "oui:0005CA:x",
  "oui:0005CAF:x",
  "oui:0005CAF00:x",
  "cid:3AA3F8:x",
  "pen:3561:x",
  "self::admin",
  "self:abc123:admin",
  "user:a:b",
  "uuid::f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
  "imei::990000862471854",
  "fqdn::acs.example.com",
  "proto::x",
  "os::0005CA-a%20b",
])("%s is an endpoint id", (id) => expect(endpointIdFault(id)).toBeUndefined());

test.each([
  "",
  "x",
  "os:x",
  "nope::x",
  "toString::x",
  "os::",
  "os::noserial",
  "os:0005CA:x",
  "ops::0005CA-serial",
  "oui:05CA:x",
  "oui:ZZZZZZ:x",
  "cid:0005CAF:x",
  "pen:x:y",
  "self:seven77:x",
  "self::a b",
  "self::a:b",
  "self::a%2",
  `self::${"x".repeat(51)}`,
  "fqdn:x:acs.example.com",
])("%j is none", (id) => expect(endpointIdFault(id)).toEqual(expect.any(String)));

test("one follows from OUI and serial number, whatever characters the serial has", () => {
  expect(endpointIdOf({ oui: "0005ca", serialNumber: "ab/1" })).toBe("os::0005CA-ab%2F1");
  expect(endpointIdOf({ oui: "0005CA", productClass: "a-b", serialNumber: "1" })).toBe("ops::0005CA-a%2Db-1");
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 3 }), (serialNumber) =>
      isEndpointId(endpointIdOf({ oui: "0005CA", serialNumber })),
    ),
  );
  expect(() => endpointIdOf({ oui: "0005CA", serialNumber: "x".repeat(60) })).toThrow("longer than 50");
});
