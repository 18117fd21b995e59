// Prints what follows from the data model into datamodel/generated/.
import { mkdirSync, writeFileSync } from "node:fs";
import { runTypeScript } from "./lib.mjs";

const { printedFiles } = await runTypeScript("datamodel/print/files.ts");
mkdirSync("datamodel/generated", { recursive: true });
const { printConfigManual } = await runTypeScript("src/config-manual.ts");
writeFileSync("docs/configuration.md", printConfigManual());
for (const [name, text] of Object.entries(printedFiles())) {
  writeFileSync(`datamodel/generated/${name}`, text);
  console.log(`datamodel/generated/${name}: ${text.length} characters`);
}
