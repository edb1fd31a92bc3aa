// What a container may use, used and was told: changed by a form with and without JavaScript, drawn, found, and read raw.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { belljar, pageTest, waitUntil } from "./harness.mjs";

const MIB = 1 << 20;
const HOLDS_30_MIB = ["sh", "-c", "head -c 30M /dev/zero > /dev/shm/pages; exec sleep 1d"];

const things = belljar(async (server) => {
  await server.create({ name: "held", command: HOLDS_30_MIB, limits: { memory_bytes: 64 * MIB, pids: 64 } });
  await server.create({ name: "busy", command: ["sh", "-c", "while :; do :; done"], limits: { cpus: 0.1 } });
  await server.create({ name: "greedy", command: ["tail", "/dev/zero"], limits: { memory_bytes: 4 * MIB, memory_swap_bytes: 0 } });
  await server.create({ name: "rests", command: ["sleep", "1d"], start: false });
});

const container = async (name) => JSON.parse((await things.server.api("GET", `/containers/${name}`)).text);

/** What the kernel has in this file of the container's cgroup, as the API tells it raw. */
async function kernel(name, file) {
  const { controllers } = JSON.parse((await things.server.api("GET", `/containers/${name}/cgroup`)).text);
  return controllers.flatMap(({ files }) => files).find((one) => one.name === file)?.content.trim();
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** In light and dark, and no wider than a phone. */
async function accessible(page) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    assert.deepEqual(violations.map(({ id, nodes }) => `${colorScheme}: ${id}: ${nodes[0].html}`), []);
  }
  await page.setViewportSize({ width: 390, height: 800 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390);
}

async function set(page, fields) {
  for (const [name, value] of Object.entries(fields)) await page.locator(`[name=${name}]`).fill(value);
  await page.getByRole("button", { name: "Set limits" }).click();
}

for (const javaScriptEnabled of [true, false]) {
  const way = javaScriptEnabled ? "with" : "without";

  pageTest(`a limit is changed while it runs, ${way} JavaScript`, things, { javaScriptEnabled }, async (page, complaints) => {
    await page.goto("/containers/held/limits");
    assert.match(await page.locator("#now-memory").innerText(), /\d+(\.\d+)? MiB/, "the usage stands beside the field");
    const [pids, memory] = javaScriptEnabled ? ["70", "96m"] : ["80", "128m"];
    await set(page, { pids, memory });
    await page.locator("#notice", { hasText: "held was changed" }).waitFor();
    assert.equal(await page.locator("[name=pids]").inputValue(), pids);
    assert.equal(await kernel("held", "pids.max"), pids);
    assert.equal((await container("held")).limits.memory_bytes, Number.parseInt(memory, 10) * MIB);

    await page.getByRole("button", { name: "Set limits" }).click();
    await page.locator("#notice", { hasText: "already" }).waitFor();
    if (javaScriptEnabled) assert.deepEqual(complaints, []);
  });

  pageTest(`what the kernel refuses stands at its field, ${way} JavaScript`, things, { javaScriptEnabled }, async (page) => {
    const before = (await container("held")).limits.memory_bytes;
    await page.goto("/containers/held/limits");
    await set(page, { memory: "8m", cpus: "0.5" });
    const field = page.locator("[name=memory][aria-invalid=true]");
    await field.waitFor();
    assert.equal(await field.inputValue(), "8m", "what was typed is kept");
    assert.equal(await page.locator("[name=cpus]").inputValue(), "0.5");
    const words = await page.locator(`#${(await field.getAttribute("aria-describedby")).split(" ")[0]}`).innerText();
    assert.match(words, /the kernel refused to write 8388608 to \S+, where \d+ bytes are used: EBUSY/);
    const { limits } = await container("held");
    assert.deepEqual([limits.memory_bytes, limits.cpus ?? null], [before, null], "nothing was changed");
    if (javaScriptEnabled) await accessible(page);

    await set(page, { memory: "a lot" });
    await page.locator("[name=memory][aria-invalid=true]").waitFor();
  });
}

pageTest("a stopped container keeps its new limits for its next start", things, {}, async (page) => {
  await page.goto("/containers/rests/limits");
  await set(page, { pids: "33" });
  await page.locator("#notice", { hasText: "next start" }).waitFor();
  assert.equal((await things.server.api("POST", "/containers/rests/start")).status, 204);
  assert.equal(await kernel("rests", "pids.max"), "33");
});

pageTest("a field is folded away until it is filled, and says where the host cannot", things, {}, async (page) => {
  const { limits } = JSON.parse((await things.server.api("GET", "/host")).text);
  await page.goto("/containers/rests/limits");
  await page.locator("#more-processor summary").click();
  await page.locator("[name=cpu_weight]").fill("300");
  await page.getByRole("button", { name: "Set limits" }).click();
  await page.locator("#notice", { hasText: "was changed" }).waitFor();
  assert.ok(await page.locator("[name=cpu_weight]").isVisible(), "what is filled is not folded away");
  const fields = { "limits.io_weight": "io_weight", "limits.memory_high_bytes": "memory_high", "limits.memory_swappiness": "memory_swappiness" };
  for (const { name, supported, because } of limits) {
    if (supported || !fields[name]) continue;
    const field = page.locator(`[name=${fields[name]}]`);
    assert.ok(await field.isDisabled(), name);
    assert.ok((await page.locator("div.field", { has: field }).textContent()).includes(because), because);
  }
});

/** How many pixels of a chart have been drawn on. */
const inked = (page, chart) =>
  page.evaluate((name) => {
    const canvas = document.querySelector(`section[aria-labelledby=chart-${name}] canvas`);
    if (!canvas) return 0;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
  }, chart);

pageTest("the last hour is drawn, with its limit and what happened in it", things, {}, async (page, complaints) => {
  await waitUntil("a slot of 10 s is remembered", async () => {
    const history = JSON.parse((await things.server.api("GET", "/containers/busy/usage/history")).text);
    return history.points?.length > 0;
  });
  await page.goto("/containers/busy/limits");
  await set(page, { cpus: "0.2" });
  await page.locator("#notice", { hasText: "was changed" }).waitFor();

  await page.goto("/containers/busy");
  await page.waitForFunction(() => document.querySelector("section[aria-labelledby=chart-cpu] canvas"));
  assert.ok((await inked(page, "cpu")) > 300);
  assert.ok((await inked(page, "memory")) > 300);
  assert.match(await page.locator("#chart-cpu").innerText(), /limit (1|2)0 %/);
  const told = await page.locator("ol.marks").innerText();
  assert.match(told, /started/);
  assert.match(told, /processors from 0\.1 to 0\.2/);
  const drawing = await page.evaluate(async () => (await fetch(document.getElementById("past").dataset.history)).json());
  assert.ok(drawing.figures.cpu_limit.some((percent) => percent === 10 || percent === 20), "the limit is a line");
  await accessible(page);
  assert.deepEqual(drawing.marks.map(({ what }) => what).sort(), ["limits changed", "started"].sort());
  for (const range of ["1d", "7d", "30d"]) {
    await page.locator("nav.ranges").getByRole("link", { name: range, exact: true }).click();
    await page.waitForURL(new RegExp(`range=${range}`));
    await page.locator("#past").waitFor();
  }
  assert.deepEqual(complaints, []);
});

pageTest("the past is a table without JavaScript", things, { javaScriptEnabled: false }, async (page) => {
  await page.goto("/containers/busy");
  const table = page.locator("table.peaks", { hasText: "CPU" }).first();
  assert.match(await table.innerText(), /Mean\s+Peak/);
  assert.match(await page.locator("tr[data-line=cpu]").innerText(), /\d %/);
  assert.match(await page.locator("ol.marks").innerText(), /started/);
});

pageTest("why it died and why it is slow are told on the list and the page", things, {}, async (page) => {
  await page.goto("/containers");
  await page.locator("tr", { hasText: "greedy" }).getByText(/out of memory|OOM/).first().waitFor();
  await page.locator("tr", { hasText: "busy" }).getByText(/held back by its cpu limit/).first().waitFor();
  await page.goto("/containers/busy");
  await page.locator("#findings .finding", { hasText: /held back by its cpu limit/ }).first().waitFor();
  await page.goto("/containers/greedy");
  assert.match(await page.locator("main").innerText(), /killed by OOM|out of memory/i);
  assert.match(await page.locator("ol.marks").innerText(), /out of memory/);
});

pageTest("the files of a cgroup are shown as the kernel gives them, beside the reading", things, {}, async (page) => {
  await page.goto("/containers/held/cgroup");
  const card = page.locator("section.controller", { has: page.locator("#raw-pids") });
  assert.match(await card.locator("table.figures").innerText(), /pids\.max/);
  await card.locator("#raw-pids summary").click();
  const shown = await card.locator("pre[aria-label='pids.max']").innerText();
  const path = await card.locator("p.source code").first().innerText();
  assert.equal(shown.trim(), readFileSync(`${path}/pids.max`, "utf8").trim());
});

pageTest("a container that is gone keeps its page of the past", things, {}, async (page, complaints) => {
  const { id } = await things.server.create({ name: "short", command: ["sleep", "1d"], limits: { pids: 9 } });
  await waitUntil("a slot of 10 s is remembered", async () => {
    const history = JSON.parse((await things.server.api("GET", `/containers/${id}/usage/history`)).text);
    return history.points?.length > 0;
  });
  assert.equal((await things.server.api("DELETE", `/containers/${id}?force=true`)).status, 204);
  await page.goto("/events");
  await page.locator("tr", { hasText: "deleted" }).getByRole("link", { name: "short" }).click();
  await page.getByRole("heading", { level: 1, name: "short" }).waitFor();
  await page.goto(`/containers/${id}?range=1h`);
  await page.waitForFunction(() => document.querySelector("section[aria-labelledby=chart-memory] canvas"));
  assert.ok((await inked(page, "memory")) > 100);
  await accessible(page);
  assert.equal((await page.goto("/containers/never-was")).status(), 404);
  assert.deepEqual(complaints.filter((words) => !words.includes("404")), []);
});
