/** Detectors over whole captures: the demo's home, and real ones that somebody names by SPIN_CAPTURES. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CAMERA, makeHome } from "../../../demo/make-home.ts";
import { parseMac } from "../../../src/lib/address.ts";
import { detect } from "../../support/detect.ts";
import { describeUnless } from "../../support/needs.ts";

describe("the demo's home", () => {
  it("has a camera that scans and floods, and seven devices that do nothing of the kind", async () => {
    const { incidents } = await detect(makeHome());
    const grave = incidents.filter(({ severity }) => severity !== "Info");
    expect(grave.map(({ mac }) => mac).every((mac) => mac === parseMac(CAMERA.mac))).toBe(true);
    expect(new Set(grave.map(({ type }) => type))).toEqual(new Set(["ARPScan", "HostScan", "Flood"]));
    expect(incidents.filter(({ mac }) => mac !== parseMac(CAMERA.mac))).toEqual([]);
  });
});

const folder = process.env["SPIN_CAPTURES"];

describeUnless(
  folder === undefined ? "needs SPIN_CAPTURES, a folder of benign__* and malicious__* captures" : undefined,
  "real captures",
  () => {
    const files = folder === undefined ? [] : readdirSync(folder).filter((name) => name.includes("__"));
    const benign = files.filter((name) => name.startsWith("benign__"));

    it.each(benign)("%s raises no alarm above Info", async (name) => {
      const { incidents } = await detect(join(folder as string, name));
      expect(incidents.filter(({ severity }) => severity !== "Info")).toEqual([]);
    });

    it.each([
      ["slips_test8", "ARPScan"],
      ["iodine", "DNSTunnel"],
    ])("%s is found", async (part, type) => {
      const name = files.find((file) => file.includes(part)) as string;
      const { incidents } = await detect(join(folder as string, name));
      expect(incidents.filter(({ severity }) => severity !== "Info").map((incident) => incident.type)).toContain(type);
    });
  },
);
