// Images on the pages, with and without JavaScript: pulled with a bar for each layer, brought in by upload, named, looked at, deleted
// and pruned; and what is said where that cannot be.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { belljar, pageTest, waitUntil } from "./harness.mjs";
import { Registry, image, ociArchive, tar } from "./registry.mjs";

const registry = await new Registry().start();
const folder = mkdtempSync("/var/tmp/belljar-archives-");
const words = (word, count) => Array.from({ length: count }, (_, line) => `${word} ${line} ${Math.sin(line)}\n`).join("");
after(() => {
  registry.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** An image of its own for one test: no layer of it is there already. */
const fresh = (word, layers = 2) =>
  image(
    Array.from({ length: layers }, (_, layer) => ({ "srv/": "", [`srv/${word}${layer}`]: words(`${word}${layer}`, 6000) })),
    Array.from({ length: layers }, (_, layer) => `RUN make ${word}${layer}`),
  );

const things = belljar();

/** Types a reference and pulls it. */
async function pull(page, reference) {
  await page.goto("/images");
  await page.locator("#reference").fill(reference);
  await page.locator("form.pull").getByRole("button", { name: "Pull" }).click();
}

/** The row of an image in the list. */
const row = (page, name) => page.locator("#image-rows tr").filter({ has: page.getByRole("link", { name, exact: true }) });

/** Has an image without a browser. */
async function have(name, of) {
  const reference = registry.put(name, of);
  const answer = await things.server.api("POST", "/images/pull", { image: reference });
  assert.match(answer.text, /"done"/);
  return reference;
}

pageTest("a pull shows a bar for each layer, which moves, and then the image without a reload", things, {}, async (page, complaints) => {
  const large = fresh("large", 3);
  const reference = registry.put("me/large:1", large);
  const release = registry.hold(large.layers[1]);
  await pull(page, reference);
  const card = page.locator("#pulls article", { hasText: reference });
  await card.waitFor();
  await page.evaluate(() => (window.loadedOnce = true));
  const bar = (index) => card.locator("li").nth(index).getByRole("progressbar");
  const value = async (index) => Number(await bar(index).getAttribute("aria-valuenow"));
  await waitUntil("the other layers are there", async () => (await value(0)) === 100 && (await value(2)) === 100);
  await waitUntil("half of the one that is held has come", async () => (await value(1)) > 20);
  assert.ok((await value(1)) < 60, "no more than what was sent");
  assert.equal(await card.getByRole("progressbar").count(), 4, "one for all, and one for each layer");
  assert.equal(await row(page, reference).count(), 0, "it is not there before all of it is");
  release();
  await row(page, reference).waitFor();
  await card.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  assert.deepEqual(complaints, []);
});

pageTest("a pull that is cancelled is gone, and nothing of it is told as a failure", things, {}, async (page) => {
  const slow = fresh("slow", 1);
  const reference = registry.put("me/slow:1", slow);
  const release = registry.hold(slow.layers[0]);
  await pull(page, reference);
  const card = page.locator("#pulls article", { hasText: reference });
  await card.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("is not pulled any more").waitFor();
  await card.waitFor({ state: "detached" });
  release();
});

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "" : " without JavaScript";
  pageTest(`a pull that fails late stays on the page with its reason, until it is dismissed or pulled again${how}`, things, { javaScriptEnabled }, async (page) => {
    const spoiled = fresh(`spoiled${javaScriptEnabled}`, 1);
    const reference = registry.put(`me/spoiled${javaScriptEnabled}:1`, spoiled);
    registry.spoil(spoiled.layers[0]);
    const release = registry.hold(spoiled.layers[0]);
    await pull(page, reference);
    const card = page.locator("#pulls article", { hasText: reference });
    await card.getByRole("button", { name: "Cancel" }).waitFor();
    release();
    if (!javaScriptEnabled) await waitUntil("it failed", async () => JSON.parse((await things.server.api("GET", "/pulls")).text).some(({ name, state }) => name === reference && state.state === "failed"));
    if (!javaScriptEnabled) await page.goto("/images");
    await card.getByText("not pulled").waitFor();
    assert.match(await card.locator(".reason").innerText(), /digest|sha256/, "it says what was wrong");
    await page.goto("/images");
    await card.getByRole("button", { name: `Dismiss: ${reference} was not pulled` }).click();
    await card.waitFor({ state: "detached" });
    await page.goto("/events");
    await page.locator("tr", { hasText: reference }).getByText("pull failed").waitFor();

    registry.spoiled.clear();
    await pull(page, reference);
    await waitUntil("it is there", async () => (await row(page, reference).count()) === 1 || (!javaScriptEnabled && (await page.goto("/images")) && false));
    assert.equal(await page.locator("#pulls article.failed").count(), 0);
  });
}

pageTest("what no registry has is told at the field, and nowhere else", things, {}, async (page) => {
  await pull(page, `${registry.host}/me/nothing:1`);
  await page.locator("#reference[aria-invalid=true]").waitFor();
  assert.match(await page.locator("#reference-wrong").innerText(), /nothing/);
  assert.equal(await page.locator("#reference").inputValue(), `${registry.host}/me/nothing:1`);
  assert.equal(await page.locator("#pulls article").count(), 0);
});

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "" : " without JavaScript";
  pageTest(`an archive is brought in by its own name, and a root file system by the one that is typed${how}`, things, { javaScriptEnabled }, async (page) => {
    const word = `brought${javaScriptEnabled}`;
    const carries = join(folder, `${word}.oci`);
    writeFileSync(carries, ociArchive(fresh(word), `registry.example/me/${word}:3`));
    await page.goto("/images");
    await page.locator("#file").setInputFiles(carries);
    await page.getByRole("button", { name: "Import" }).click();
    await page.getByText("was imported").waitFor();
    await row(page, `registry.example/me/${word}:3`).waitFor();

    const bare = join(folder, `${word}.tar`);
    writeFileSync(bare, tar({ "srv/": "", [`srv/${word}`]: word }));
    await page.locator("#file").setInputFiles(bare);
    await page.getByRole("button", { name: "Import" }).click();
    await page.locator("#name[aria-invalid=true]").waitFor();
    await page.locator("#name").fill(word);
    await page.locator("#file").setInputFiles(bare);
    await page.getByRole("button", { name: "Import" }).click();
    await page.getByText("was imported").waitFor();
    assert.match(await row(page, `${word}:latest`).or(row(page, word)).innerText(), /root file system/);
  });
}

pageTest("what is no archive is told at the file", things, {}, async (page) => {
  const nonsense = join(folder, "nonsense.tar");
  writeFileSync(nonsense, "this is no archive, ".repeat(100));
  await page.goto("/images");
  await page.locator("#name").fill("nonsense");
  await page.locator("#file").setInputFiles(nonsense);
  await page.getByRole("button", { name: "Import" }).click();
  await page.locator("#file[aria-invalid=true]").waitFor();
  assert.equal(await page.locator("#name").inputValue(), "nonsense");
});

pageTest("one image's page has its configuration, and each layer with digest, size and the command that made it", things, {}, async (page) => {
  const shown = fresh("shown");
  const reference = await have("me/shown:1", shown);
  await page.goto("/images");
  await page.getByRole("link", { name: reference, exact: true }).click();
  await page.getByRole("heading", { level: 1, name: reference }).waitFor();
  const said = await page.locator("main").innerText();
  for (const word of ["/bin/sh", "PATH", "made for a test", "linux/amd64"]) assert.ok(said.includes(word), `${word} in ${said}`);
  const steps = page.locator("table.steps tbody tr");
  assert.equal(await steps.count(), 2);
  const api = JSON.parse((await things.server.api("GET", `/images/${encodeURIComponent(reference)}`)).text);
  for (const [index, layer] of [...api.layers].reverse().entries()) {
    assert.equal(await steps.nth(index).locator("td code").last().getAttribute("title"), layer.diff_id, "the newest stands first");
  }
  assert.match(await steps.first().innerText(), /RUN make shown1/);
  assert.match(await steps.first().innerText(), /KiB/);
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("2 layers were read").waitFor();
});

pageTest("an image gets a second name, loses it, and is refused to go while a container stands on it, by name", things, { javaScriptEnabled: false }, async (page) => {
  const reference = await have("me/named:1", fresh("named"));
  await page.goto(`/image?name=${reference}`);
  await page.locator("#name").fill("not a name!");
  await page.getByRole("button", { name: "Tag" }).click();
  await page.locator("#name[aria-invalid=true]").waitFor();
  await page.locator("#name").fill("second:2");
  await page.getByRole("button", { name: "Tag" }).click();
  await page.getByText("is a name of the image now").waitFor();

  const open = async () => {
    await page.locator("details.menu", { hasText: "Delete" }).locator("summary").click();
    return page.locator("details.menu[open]");
  };
  await (await open()).getByRole("button", { name: "Delete this name" }).click();
  await page.waitForURL(/\/images$/);
  assert.equal(await row(page, "second:2").count(), 0);

  await things.server.create({ image: reference, name: "stands", command: ["/bin/sh"], start: false });
  await page.goto(`/image?name=${reference}`);
  const menu = await open();
  assert.match(await menu.innerText(), /used by stands/i);
  assert.equal(await menu.getByRole("button").count(), 0, "there is nothing to press");
  const refused = await page.request.post("/images/delete", { form: { image: reference }, headers: { origin: things.url } });
  assert.equal(refused.status(), 409);
  assert.match(await refused.text(), /stands/, "whoever sends the form all the same is told by whom it is used");
  await things.server.api("DELETE", "/containers/stands?force=true");
  await page.goto(`/image?name=${reference}`);
  await (await open()).getByRole("button", { name: "Delete" }).click();
  await page.waitForURL(/\/images$/);
  assert.equal(await row(page, reference).count(), 0);
});

pageTest("a prune shows first what it would free, and takes that and no more", things, { javaScriptEnabled: false }, async (page) => {
  const reference = await have("me/old:1", fresh("old"));
  await page.goto("/images");
  await page.getByRole("link", { name: "Prune…" }).click();
  await page.getByText("among images without a name").waitFor();
  await page.getByRole("link", { name: /Those with a name/ }).click();
  const listed = page.locator("ul.listed li", { hasText: reference });
  await listed.waitFor();
  assert.match(await page.locator("main .card p").first().innerText(), /would be freed/);
  const later = await have("me/later:1", fresh("later"));
  await page.getByRole("button", { name: /^Free / }).click();
  await page.getByText("of images were freed").waitFor();
  assert.equal(await row(page, reference).count(), 0);
  await row(page, later).waitFor();
});

pageTest("the list of images follows what happens without a reload", things, {}, async (page) => {
  await page.goto("/images");
  await page.evaluate(() => (window.loadedOnce = true));
  const reference = await have("me/arrives:1", fresh("arrives"));
  await row(page, reference).waitFor();
  await things.server.create({ image: reference, name: "user", command: ["/bin/sh"], start: false });
  await row(page, reference).getByRole("link", { name: "user", exact: true }).waitFor();
  await things.server.api("DELETE", "/containers/user?force=true");
  await row(page, reference).getByText("nobody").waitFor();
  await things.server.api("DELETE", `/images/${encodeURIComponent(reference)}`);
  await row(page, reference).waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
});

pageTest("the page of an image follows what happens, and ends with the image", things, {}, async (page) => {
  const reference = await have("me/followed:1", fresh("followed"));
  await page.goto(`/image?name=${reference}`);
  await page.evaluate(() => (window.loadedOnce = true));
  await things.server.create({ image: reference, name: "follower", command: ["/bin/sh"], start: false });
  await page.locator("#image-facts").getByRole("link", { name: "follower" }).waitFor();
  await things.server.api("POST", `/images/${encodeURIComponent(reference)}/tag`, { name: "followed:2" });
  await page.locator("#image-facts").getByRole("link", { name: "followed:2" }).waitFor();
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  await things.server.api("DELETE", "/containers/follower?force=true");
  await things.server.api("DELETE", "/images/followed%3A2");
  await things.server.api("DELETE", `/images/${encodeURIComponent(reference)}`);
  await page.waitForURL(/\/images$/);
});

pageTest("an image is pulled and looked at with the keyboard alone", things, {}, async (page) => {
  const reference = registry.put("me/keys:1", fresh("keys"));
  await page.goto("/images");
  await page.locator("#reference").focus();
  await page.keyboard.type(reference);
  await page.keyboard.press("Enter");
  await row(page, reference).waitFor();
  await page.locator("#reference").focus();
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press("Tab");
    if ((await page.evaluate(() => document.activeElement.getAttribute("href") ?? "")).endsWith(reference)) break;
  }
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: reference }).waitFor();
});

pageTest("a login of a registry is kept where the registry takes it, used by a pull, shown without its secret, and forgotten", things, { javaScriptEnabled: false }, async (page) => {
  const locked = await new Registry().start();
  locked.login = "me:a secret";
  const reference = locked.put("me/locked:1", fresh("locked", 1));
  try {
    await pull(page, reference);
    await page.locator("#reference[aria-invalid=true]").waitFor();
    const enter = async (secret) => {
      await page.goto("/settings");
      await page.locator("#host").fill(locked.host);
      await page.locator("#username").fill("me");
      await page.locator("#secret").fill(secret);
      await page.getByRole("button", { name: "Log in" }).click();
    };
    await enter("another secret");
    await page.locator("[aria-invalid=true]").waitFor();
    await enter("a secret");
    await page.getByText("takes this login").waitFor();
    assert.ok(!(await page.content()).includes("a secret"));
    await pull(page, reference);
    await page.waitForURL(/\/images$/);
    await waitUntil("it is there", async () => (await page.goto("/images")) && (await row(page, reference).count()) === 1);
    await page.goto("/settings");
    await page.getByRole("button", { name: `Log out of ${locked.host}` }).click();
    await page.getByText("without a login now").waitFor();
    assert.equal(await page.locator("table", { hasText: locked.host }).count(), 0);
  } finally {
    locked.stop();
  }
});
