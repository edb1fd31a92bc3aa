// How the pages read: accessible to everybody, in light and dark, on a phone, and with hostile words in them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";
import { belljar, pageTest, waitUntil } from "./harness.mjs";
import { Registry, image } from "./registry.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const HOSTILE = `<script>window.broken = 1</script><img src=x onerror="window.broken = 1">`;
const PAGES = ["", "/limits", "?range=30d", "/namespaces", "/cgroup", "/mounts", "/overlay", "/overlay?path=/root", "/overlay/difference?path=/etc/hostname", "/logs", "/events", "/plan"].map((tab) => `/containers/shown${tab}`);
PAGES.unshift("/containers", "/containers/new", "/images", "/images/prune?all=yes", "/volumes", "/volumes/kept", "/prune/volumes?all=yes");
PAGES.unshift("/containers/rests/mounts", "/events", "/host", "/settings");

// An image whose words are hostile, a pull that stays half-way, and one that failed.
const registry = await new Registry().start();
after(() => registry.stop());
const evil = image([{ "srv/": "", "srv/a": "a".repeat(3000) }], [`RUN ${HOSTILE}`], { Labels: { [HOSTILE]: HOSTILE }, Cmd: [HOSTILE], User: "0" });
const name = registry.put("me/a-rather-long-name-of-an-image-that-has-to-break-somewhere:with-a-long-tag-1.27.3", evil);
PAGES.unshift(`/image?name=${name}`);

const things = belljar(async (server) => {
  const script = `echo ${JSON.stringify(HOSTILE)}; echo hello > /root/added; exec sleep 1d`;
  await server.api("POST", "/images/pull", { image: name });
  const stays = image([{ b: "b".repeat(100_000) }], [HOSTILE]);
  registry.hold(stays.layers[0]);
  const spoiled = image([{ c: "c".repeat(100_000) }], [HOSTILE]);
  registry.spoil(spoiled.layers[0]);
  // Nobody waits for the first: it ends with the server.
  server.api("POST", "/images/pull", { image: registry.put("me/stays:1", stays) }).catch(() => {});
  await server.api("POST", "/images/pull", { image: registry.put("me/spoiled:1", spoiled) });
  const mounts = [{ type: "volume", source: "kept", target: `/${HOSTILE.replaceAll("/", "")}` }, { type: "tmpfs", target: "/memory" }];
  const health = { command: ["sh", "-c", `echo ${JSON.stringify(HOSTILE)}; exit 1`], interval_ms: 500, retries: 1 };
  await server.create({ name: "shown", command: ["sh", "-c", script], labels: { note: HOSTILE }, env: { NOTE: HOSTILE }, mounts, health });
  await server.create({ name: "rests", image: name, start: false });
  await server.api("POST", "/volumes", { name: "unused", labels: { note: HOSTILE } });
  await waitUntil("there is a failed pull", async () => (await server.api("GET", "/pulls")).text.includes('"failed"'));
});

for (const colorScheme of ["light", "dark"]) {
  pageTest(`every page is accessible in ${colorScheme}`, things, { colorScheme }, async (page) => {
    const found = [];
    for (const path of PAGES) {
      assert.equal((await page.goto(path)).status(), 200, path);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const { id, help, nodes } of violations) found.push(`${path}: ${id}: ${help}: ${nodes[0].html}`);
    }
    assert.deepEqual(found, []);
  });
}

pageTest("no page is wider than a phone", things, { viewport: { width: 375, height: 700 } }, async (page) => {
  const wide = [];
  for (const path of PAGES) {
    await page.goto(path);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > 375) wide.push(`${path}: ${width}`);
  }
  assert.deepEqual(wide, []);
});

pageTest("hostile words are shown as words, and nothing is refused by the content policy", things, {}, async (page, complaints) => {
  for (const path of PAGES) {
    await page.goto(path);
    assert.equal(await page.evaluate(() => window.broken), undefined, path);
  }
  await page.goto("/containers/shown/logs");
  assert.ok((await page.locator("main").innerText()).includes("<script>"), "the log shows what was written");
  assert.deepEqual(complaints, []);
});

pageTest("the keyboard alone reaches a container's page", things, {}, async (page) => {
  await page.goto("/containers");
  for (let presses = 0; presses < 40; presses++) {
    await page.keyboard.press("Tab");
    if ((await page.evaluate(() => document.activeElement.getAttribute("href") ?? "")).endsWith("/containers/shown")) break;
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "shown" }).waitFor();
});
