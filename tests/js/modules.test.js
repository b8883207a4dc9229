// Every script of ours parses, those that need a browser too: an undeclared private field shows only there.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

for (const folder of ["widget", "console"]) {
  const scripts = fileURLToPath(new URL(`../../assistant/web/static/${folder}/`, import.meta.url));
  for (const name of readdirSync(scripts).filter((file) => file.endsWith(".js"))) {
    test(`${folder}/${name} parses`, () => {
      const { status, stderr } = spawnSync(process.execPath, ["--check", scripts + name], { encoding: "utf8" });
      assert.equal(status, 0, stderr);
    });
  }
}
