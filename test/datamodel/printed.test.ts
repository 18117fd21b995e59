import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseStringPromise } from "xml2js";
import { printedFiles } from "../../datamodel/print/files.ts";
import { spinObjects } from "../../datamodel/spin.ts";

const directory = join(__dirname, "../../datamodel/generated");

describe("what is printed from the data model", () => {
  it.each(Object.entries(printedFiles()))(
    "%s in datamodel/generated is what `npm run generate` prints now",
    (name, text) => {
      expect(readFileSync(join(directory, name), "utf8")).toBe(text);
    },
  );

  it("is XML with every object, parameter, command and event", async () => {
    const document = (await parseStringPromise(printedFiles()["spin.xml"] as string)) as {
      "dm:document": { model: { object: Printed[] }[] };
    };
    const printed = document["dm:document"].model[0]?.object ?? [];
    expect(printed.map(({ $ }) => $.name).sort()).toEqual(spinObjects.map(({ path }) => path).sort());
    for (const schema of spinObjects) {
      const object = printed.find(({ $ }) => $.name === schema.path) as Printed;
      const names = (list?: { $: { name: string } }[]) => (list ?? []).map(({ $ }) => $.name);
      expect(names(object.parameter)).toEqual(expect.arrayContaining(Object.keys(schema.params)));
      expect(names(object.command)).toEqual(Object.keys(schema.commands));
      expect(names(object.event)).toEqual(Object.keys(schema.events));
    }
  });
});

interface Printed {
  $: { name: string };
  parameter?: { $: { name: string } }[];
  command?: { $: { name: string } }[];
  event?: { $: { name: string } }[];
}
