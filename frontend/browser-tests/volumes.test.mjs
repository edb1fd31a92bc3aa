// Volumes on the pages, with and without JavaScript: made, filled by a container, looked into, fetched from, deleted and pruned.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { belljar, pageTest, waitUntil } from "./harness.mjs";

const things = belljar();

const row = (page, name) => page.locator("#volume-rows tr").filter({ has: page.getByRole("link", { name, exact: true }) });

/** Opens the menu with the question whether to delete. */
async function ask(page, scope) {
  await scope.locator("details.menu > summary").click();
  return scope.locator("details.menu[open]");
}

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "" : " without JavaScript";
  pageTest(`a volume is made, filled, browsed, fetched from, refused to go while it is used, and deleted${how}`, things, { javaScriptEnabled }, async (page) => {
    const name = `kept${javaScriptEnabled}`;
    const container = `writer${javaScriptEnabled}`;
    await page.goto("/volumes");
    await page.locator("#name").fill("not a name!");
    await page.getByRole("button", { name: "Make", exact: true }).click();
    await page.locator("#name[aria-invalid=true]").waitFor();
    assert.equal(await page.locator("#name").inputValue(), "not a name!");
    await page.locator("#name").fill(name);
    await page.getByRole("button", { name: "Make", exact: true }).click();
    await row(page, name).waitFor();

    const script = "mkdir '/data/a folder'; echo in the volume > '/data/a folder/a file'; ln -s / '/data/a folder/way out'; exec sleep 1d";
    await things.server.create({ name: container, command: ["sh", "-c", script], mounts: [{ type: "volume", source: name, target: "/data" }] });
    await page.goto(`/volumes/${name}`);
    await page.getByRole("link", { name: container, exact: true }).waitFor();
    await waitUntil("it has written", async () => (await page.goto(`/volumes/${name}`)) && (await page.getByRole("link", { name: "a folder/" }).count()) === 1);
    await page.getByRole("link", { name: "a folder/" }).click();
    await page.getByText("way out").waitFor();
    assert.equal(await page.getByRole("link", { name: "way out" }).count(), 0, "a link out of it leads nowhere");
    await waitUntil("the file is whole", async () => (await page.reload()) && /14 B/.test(await page.locator("tr", { hasText: "a file" }).innerText()));
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "a file", exact: true }).click()]);
    assert.equal(download.suggestedFilename(), "a file");
    assert.equal(readFileSync(await download.path(), "utf8"), "in the volume\n");

    await page.goto("/volumes");
    const menu = await ask(page, row(page, name));
    assert.match(await menu.innerText(), new RegExp(`used by ${container}`));
    assert.equal(await menu.getByRole("button").count(), 0);
    const refused = await page.request.post(`/volumes/${name}/delete`, { headers: { origin: things.url } });
    assert.equal(refused.status(), 409);
    assert.match(await refused.text(), new RegExp(container));
    await things.server.api("DELETE", `/containers/${container}?force=true`);
    await page.goto(`/volumes/${name}`);
    await (await ask(page, page.locator("main"))).getByRole("button", { name: "Delete" }).click();
    await page.waitForURL(/\/volumes$/);
    assert.equal(await row(page, name).count(), 0);
  });
}

pageTest("the list of volumes follows what happens without a reload", things, {}, async (page, complaints) => {
  await page.goto("/volumes");
  await page.evaluate(() => (window.loadedOnce = true));
  await things.server.api("POST", "/volumes", { name: "arrives" });
  await row(page, "arrives").waitFor();
  await row(page, "arrives").getByText("0 B").waitFor();
  await things.server.create({ name: "user", command: ["sleep", "1d"], mounts: [{ type: "volume", source: "arrives", target: "/data" }] });
  await row(page, "arrives").getByRole("link", { name: "user", exact: true }).waitFor();
  await things.server.api("DELETE", "/containers/user?force=true");
  await row(page, "arrives").getByText("nobody").waitFor();
  await things.server.api("DELETE", "/volumes/arrives");
  await row(page, "arrives").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  assert.deepEqual(complaints, []);
});

pageTest("the page of a volume follows what is written into it, and ends with the volume", things, {}, async (page) => {
  const mounts = [{ type: "volume", source: "followed", target: "/data" }];
  await things.server.create({ name: "writes", command: ["sleep", "1d"], mounts });
  await page.goto("/volumes/followed");
  await page.evaluate(() => (window.loadedOnce = true));
  await things.server.api("POST", "/containers/writes/exec", { command: ["sh", "-c", "echo hello > /data/greeting"] });
  await page.getByRole("link", { name: "greeting", exact: true }).waitFor();
  await things.server.api("DELETE", "/containers/writes?force=true");
  await page.getByText("nobody", { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
  await things.server.api("DELETE", "/volumes/followed");
  await page.waitForURL(/\/volumes$/);
});

pageTest("a prune of volumes shows first what would go, and takes that and no more", things, { javaScriptEnabled: false }, async (page) => {
  await things.server.api("POST", "/volumes", { name: "unused" });
  await page.goto("/volumes");
  await page.getByRole("link", { name: "Prune…" }).click();
  await page.getByText("There is nothing to free").waitFor();
  await page.getByRole("link", { name: /Those with a name/ }).click();
  await page.locator("ul.listed li", { hasText: "unused" }).waitFor();
  await things.server.api("POST", "/volumes", { name: "later" });
  await page.getByRole("button", { name: /^Free / }).click();
  await page.getByText("of volumes were freed").waitFor();
  assert.equal(await row(page, "unused").count(), 0);
  await row(page, "later").waitFor();
  await things.server.api("DELETE", "/volumes/later");
});
