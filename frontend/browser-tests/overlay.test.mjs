// What a container is made of, on its pages: layers, the tree by folder, what it changed and how to undo that, files in and out; what is
// mounted in it; and how it does by its own check.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after } from "node:test";
import { belljar, pageTest, waitUntil } from "./harness.mjs";
import { Registry, image } from "./registry.mjs";

const registry = await new Registry().start();
after(() => registry.stop());
const BUSYBOX = readFileSync("/usr/bin/busybox");
const software = image(
  [
    { "bin/": "", "bin/busybox": BUSYBOX },
    { "etc/": "", "etc/app.conf": "port = 80\nname = web\nworkers = 4\n", "etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/gone": "1\n", "srv/": "", "srv/old/": "", "srv/old/a": "a\n" },
    { "etc/": "", "etc/app.conf": "port = 81\nname = web\nworkers = 4\n" },
  ],
  ["ADD software", "COPY settings /etc", "COPY app.conf /etc"],
);
const CHANGES = [
  "printf 'port = 8080\\nname = web\\nworkers = 4\\n' > /etc/app.conf",
  "busybox chmod 600 /etc/passwd",
  "busybox rm /etc/gone",
  "echo new > /etc/added",
  "busybox rm -r /srv/old",
  "busybox mkdir /srv/old",
  "echo b > /srv/old/b",
].join("; ");

const things = belljar(async (server) => {
  const reference = registry.put("me/software:1", software);
  await server.api("POST", "/images/pull", { image: reference });
  const mounts = [
    { type: "volume", source: "kept", target: "/data" },
    { type: "tmpfs", target: "/memory", size_bytes: 1 << 20 },
    { type: "bind", source: "/etc/hostname", target: "/host name", readonly: true },
  ];
  const command = ["busybox", "sh", "-c", `${CHANGES}; exec busybox sleep 1d`];
  await server.create({ name: "web", image: reference, command, mounts });
  await server.create({ name: "rests", image: reference, command: ["busybox", "sleep", "1d"], mounts, start: false });
  await waitUntil("it has changed its files", async () => (await server.api("GET", "/containers/web/overlay/changes")).text.includes("/srv/old/b"));
});

const OVERLAY = "/containers/web/overlay";
const entry = (page, name) => page.locator("table.tree tbody tr").filter({ has: page.getByRole("rowheader", { name, exact: true }) });

pageTest("the stack shows each layer with digest, size and the command that made it, as it is mounted", things, {}, async (page) => {
  await page.goto(OVERLAY);
  const layers = page.locator("ol.stack > li");
  const stack = JSON.parse((await things.server.api("GET", "/containers/web/overlay")).text);
  assert.equal(await layers.count(), stack.layers.length);
  const words = await layers.allInnerTexts();
  assert.match(words[0], /0 upper/);
  assert.match(words.at(-1), /ADD software/);
  assert.match(words.at(-3), /COPY app.conf/);
  for (const [index, layer] of stack.layers.entries()) {
    assert.ok(words[index].includes(layer.path), "the folder on the host");
    if (layer.digest) assert.equal(await layers.nth(index).locator("code.digest").getAttribute("title"), layer.digest);
  }
  assert.match(words.at(-1), /MiB|KiB/);
  assert.ok((await page.locator(".stackview").innerText()).includes(stack.merged));
});

pageTest("every entry of the tree says its layer, what it hides, and what became of it, folder by folder", things, {}, async (page) => {
  await page.goto(`${OVERLAY}?path=/etc`);
  const said = async (name) => (await entry(page, name).innerText()).replaceAll(/\s+/g, " ");
  assert.match(await said("app.conf"), /0 upper .*hides 2, 3 copied up/);
  assert.match(await said("added"), /0 upper .*added/);
  assert.match(await said("passwd"), /0 upper .*hides 3 metadata/);
  assert.match(await said("gone"), /hides 3 deleted/);
  assert.match(await said("hostname"), /1 init/);
  assert.equal(await entry(page, "app.conf").locator("td.number").last().innerText(), "0:0");

  await page.goto(OVERLAY);
  await page.getByRole("link", { name: "srv/", exact: true }).click();
  assert.match(await said("old/"), /opaque/);
  await page.getByRole("link", { name: "old/", exact: true }).click();
  assert.equal(await entry(page, "a").count(), 0, "what the layers below have is hidden");
  assert.match(await said("b"), /added/);
  await page.locator("nav.path").getByRole("link", { name: "srv" }).click();
  await entry(page, "old/").waitFor();
});

pageTest("a changed file stands side by side with the layer's", things, {}, async (page) => {
  await page.goto(`${OVERLAY}?path=/etc`);
  await entry(page, "app.conf").getByRole("link", { name: "What changed in app.conf" }).click();
  await page.locator("table.lines").waitFor();
  assert.deepEqual(await page.locator("td.removed").allInnerTexts().then((all) => all.map((text) => text.replaceAll(/\s+/g, " ").trim())), ["removed: port = 81"]);
  assert.deepEqual(await page.locator("td.added").allInnerTexts().then((all) => all.map((text) => text.replaceAll(/\s+/g, " ").trim())), ["added: port = 8080"]);
  assert.match(await page.locator("table.lines thead").innerText(), /Layer 2: COPY app.conf/);
});

pageTest("a file is put in by upload and fetched by download, with JavaScript and without", things, { javaScriptEnabled: false }, async (page) => {
  await page.goto(`${OVERLAY}?path=/srv`);
  await page.locator("#upload").setInputFiles({ name: "brought in.txt", mimeType: "text/plain", buffer: Buffer.from("from outside\n") });
  await page.getByRole("button", { name: "Upload" }).click();
  await page.getByText("has a new file").waitFor();
  await page.goto(`${OVERLAY}?path=/srv`);
  assert.match(await entry(page, "brought in.txt").innerText(), /added/);
  const inside = await things.server.api("POST", "/containers/web/exec", { command: ["busybox", "cat", "/srv/brought in.txt"] });
  assert.match(inside.text, /from outside/, "its processes see it");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    entry(page, "brought in.txt").getByRole("link", { name: "Download brought in.txt" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "brought in.txt");
  assert.equal(readFileSync(await download.path(), "utf8"), "from outside\n", "the file, and no archive around it");
  const [folder] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download as .tar" }).click()]);
  assert.equal(folder.suggestedFilename(), "web.tar");
  assert.ok(readFileSync(await folder.path(), "latin1").includes("brought in.txt"));
});

pageTest("one path is undone while it runs, and its processes see it so", things, { javaScriptEnabled: false }, async (page) => {
  const cat = async (path) => (await things.server.api("POST", "/containers/web/exec", { command: ["busybox", "cat", path] })).text;
  assert.match(await cat("/etc/app.conf"), /8080/);
  await page.goto(`${OVERLAY}?path=/etc`);
  await entry(page, "app.conf").getByRole("button", { name: "Undo /etc/app.conf" }).click();
  await page.getByText("has a path back").waitFor();
  assert.match(await cat("/etc/app.conf"), /port = 81\\n/);
  await page.goto(`${OVERLAY}?path=/etc`);
  await entry(page, "gone").getByRole("button", { name: "Undo /etc/gone" }).click();
  await page.getByText("has a path back").waitFor();
  assert.match(await cat("/etc/gone"), /1\\n/);
  await entry(page, "added").waitFor();
});

pageTest("the overlay follows what its programs write, without a reload", things, {}, async (page, complaints) => {
  await page.goto(`${OVERLAY}?path=/srv`);
  await page.evaluate(() => (window.loadedOnce = true));
  await page.locator("details.reset > summary").click();
  await things.server.api("POST", "/containers/web/exec", { command: ["busybox", "sh", "-c", "echo hello > '/srv/just now'"] });
  await entry(page, "just now").waitFor();
  await page.locator(".changes li", { hasText: "/srv/just now" }).waitFor();
  await things.server.api("POST", "/containers/web/overlay/undo", { path: "/srv/just now" });
  await entry(page, "just now").waitFor({ state: "detached" });
  assert.equal(await page.locator("details.reset[open]").count(), 1, "what was open stays open");
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  assert.deepEqual(complaints, []);
});

pageTest("a container that rests is reset to its image, and one that runs is not", things, { javaScriptEnabled: false }, async (page) => {
  await things.server.create({ name: "changes", image: `${registry.host}/me/software:1`, command: ["busybox", "sh", "-c", "echo x > /etc/x; exec busybox sleep 1d"] });
  await page.goto("/containers/changes/overlay");
  await page.getByText("Reset to the image…").click();
  await page.getByText("Stop it first").waitFor();
  await things.server.api("POST", "/containers/changes/kill");
  await waitUntil("it has ended", async () => (await things.server.api("GET", "/containers/changes")).text.includes('"stopped"'));
  await page.goto("/containers/changes/overlay?path=/etc");
  await entry(page, "x").waitFor();
  await page.getByText("Reset to the image…").click();
  await page.getByRole("button", { name: "Empty its own layer" }).click();
  await page.getByText("was reset to its image").waitFor();
  await page.goto("/containers/changes/overlay?path=/etc");
  assert.equal(await entry(page, "x").count(), 0);
  await things.server.api("DELETE", "/containers/changes?force=true");
});

const mount = (page, target) => page.locator("#mounts tbody tr").filter({ has: page.getByRole("rowheader", { name: target, exact: true }) });

pageTest("each mount stands as the kernel has it beside what was asked for, with the file that says so", things, {}, async (page) => {
  await page.goto("/containers/web/mounts");
  const { init } = JSON.parse((await things.server.api("GET", "/containers/web")).text);
  const source = `/proc/${init?.pid ?? JSON.parse((await things.server.api("GET", "/containers/web")).text).pid}/mountinfo`;
  assert.ok((await page.locator("#mounts").innerText()).includes(source), source);
  const folded = page.locator("#mounts details.group:not([open]) > summary");
  while ((await folded.count()) > 0) await folded.first().click();
  const lines = readFileSync(source, "utf8").trim().split("\n");
  const kernels = lines.map((line) => line.split(" ")[4].replaceAll("\\040", " "));
  const shown = await page.locator("#mounts tbody th").allInnerTexts();
  assert.deepEqual(shown.map((name) => name.trim()).sort(), kernels.sort(), "each line of the kernel's, and nothing else");
  const said = async (target) => (await mount(page, target).innerText()).replaceAll(/\s+/g, " ");
  assert.match(await said("/data"), /volume the volume kept .*\/volumes\/kept\/data/);
  assert.match(await said("/memory"), /tmpfs in memory, at most 1 MiB tmpfs/);
  assert.match(await said("/host name"), /bind \/etc\/hostname of the host, read-only .*ro,nosuid,nodev/);
  assert.match(await said("/"), /overlay its own layer over 4 more overlay/);
  assert.match(await said("/proc"), /standard a new proc proc/);
  assert.match(await page.locator("#mounts tbody tr", { hasText: "masked" }).first().innerText(), /reads as empty/);
  assert.match(await said("/data"), /private/);
  await mount(page, "/memory").getByText("of the file system").click();
  assert.match(await said("/memory"), /size=1024k/);
});

pageTest("the mounts of a container that rests are those to come, and follow its start and its end", things, {}, async (page, complaints) => {
  await page.goto("/containers/rests/mounts");
  await page.evaluate(() => (window.loadedOnce = true));
  await page.getByText("this is what will be mounted").waitFor();
  assert.match(await mount(page, "/data").innerText(), /the volume kept/);
  await things.server.api("POST", "/containers/rests/start");
  await mount(page, "/data").getByText("private").waitFor();
  await page.getByText("Read from /proc/").waitFor();
  await things.server.api("POST", "/containers/rests/kill");
  await page.getByText("this is what will be mounted").waitFor();
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  assert.deepEqual(complaints, []);
});

pageTest("how a container does is said on its page and in the list, as it changes", things, {}, async (page) => {
  const health = { command: ["busybox", "sh", "-c", "busybox cat /etc/well; test -e /etc/well"], interval_ms: 300, retries: 1, start_period_ms: 0 };
  await page.goto("/containers");
  await things.server.create({ name: "checked", image: `${registry.host}/me/software:1`, command: ["busybox", "sleep", "1d"], health });
  const row = page.locator("tr", { hasText: "checked" });
  await row.locator(".health", { hasText: "unhealthy" }).waitFor();
  const head = page.locator("#health h2");
  await page.goto("/containers/checked");
  await head.getByText("unhealthy", { exact: true }).waitFor();
  await page.locator("#health .checks pre", { hasText: "No such file" }).first().waitFor();
  await page.locator("#findings", { hasText: "Unhealthy" }).waitFor();
  await page.evaluate(() => (window.loadedOnce = true));
  await things.server.api("POST", "/containers/checked/exec", { command: ["busybox", "sh", "-c", "echo all is well > /etc/well"] });
  await head.getByText("healthy", { exact: true }).waitFor();
  await page.locator("#health .checks pre", { hasText: "all is well" }).first().waitFor();
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  await page.goto("/containers");
  await row.locator(".health", { hasText: /^healthy/ }).waitFor();
  await things.server.api("DELETE", "/containers/checked?force=true");
});
