/** What is printed from the model, by file name in `datamodel/generated/`. A test fails when a file there is stale. */
import { allObjects, vendorObjects } from "../all.ts";
import { Device } from "../device.ts";
import { ROOT } from "../spin.ts";
import { printMarkdown } from "./markdown.ts";
import { printXml } from "./xml.ts";

export function printedFiles(): Readonly<Record<string, string>> {
  return {
    "spin.xml": printXml([Device, ...vendorObjects], ROOT),
    "data-model.md": printMarkdown(allObjects, "The data model"),
  };
}
