// One container's life on the pages, with and without JavaScript: create, watch a figure change, stop, delete, events.
import assert from "node:assert/strict";
import { belljar, pageTest } from "./harness.mjs";

const things = belljar();

/** Fills the form that creates a container, and sends it. */
async function create(page, name, command) {
  await page.goto("/containers/new");
  await page.locator("[name=name]").fill(name);
  await page.locator("[name=command]").fill(command);
  await page.locator("main form").getByRole("button", { name: /create/i }).click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
}

/** Presses a button by its words on the container's page. */
async function press(page, word) {
  await page.locator("#head").getByRole("button", { name: word, exact: true }).click();
}

/** Waits until the page says that its container is in this state. */
async function said(page, state) {
  await page.locator("#head .chip", { hasText: state }).waitFor();
}

/** Follows the link to the question whether to delete, and says yes. */
async function remove(page, name) {
  await page.goto(`/containers/${name}`);
  await page.locator("#head").getByRole("link", { name: /^Delete/ }).click();
  await page.getByRole("button", { name: /delete/i }).click();
  await page.waitForURL(/\/containers(\?.*)?$/);
}

/** The words of the events page about one container. */
async function events(page, name) {
  await page.goto("/events");
  return (await page.locator("tr", { hasText: name }).allInnerTexts()).join("\n").toLowerCase();
}

pageTest("a container is created, watched, stopped and deleted, and its events are told", things, {}, async (page, complaints) => {
  await create(page, "watched", "sh -c 'while :; do :; done'");
  await said(page, "running");

  const figures = await page.locator("#usage").innerText();
  await page.waitForFunction((before) => document.querySelector("#usage").innerText !== before, figures);

  await press(page, "Stop");
  await said(page, "stopped");
  await remove(page, "watched");
  assert.equal(await page.locator("table", { hasText: "watched" }).count(), 0, "it is no longer listed");

  const told = await events(page, "watched");
  for (const word of ["created", "started", "stopped", "deleted"]) assert.ok(told.includes(word), `${word} in:\n${told}`);
  assert.deepEqual(complaints, [], "the browser has nothing to complain about");
});

pageTest("every button works without JavaScript", things, { javaScriptEnabled: false }, async (page) => {
  await create(page, "plain", "sleep 1d");
  const state = async (word) => {
    await page.goto("/containers/plain");
    await said(page, word);
  };
  await state("running");
  for (const [word, then] of [["Pause", "paused"], ["Resume", "running"], ["Restart", "running"], ["Kill", "stopped"], ["Start", "running"], ["Stop", "stopped"]]) {
    await press(page, word);
    await state(then);
  }
  await remove(page, "plain");
  assert.ok((await events(page, "plain")).includes("deleted"));
});

pageTest("a form with a mistake comes back filled, with the words at the field", things, {}, async (page) => {
  await page.goto("/containers/new");
  await page.locator("[name=name]").fill("mistaken");
  await page.locator("[name=command]").fill("sleep 1d");
  await page.locator("[name=memory]").fill("a lot");
  await page.locator("main form").getByRole("button", { name: /create/i }).click();
  const field = page.locator("[name=memory]");
  await page.locator("[name=memory][aria-invalid=true]").waitFor();
  assert.equal(await field.inputValue(), "a lot");
  assert.equal(await page.locator("[name=command]").inputValue(), "sleep 1d");
});

pageTest("the list follows what happens without a reload", things, {}, async (page) => {
  await page.goto("/containers");
  await page.evaluate(() => (window.loadedOnce = true));
  await things.server.create({ name: "arrives", command: ["sleep", "1d"] });
  await page.locator("table").getByText("arrives").first().waitFor();
  await things.server.api("POST", "/containers/arrives/kill");
  await page.locator("tr", { hasText: "arrives" }).locator("td.state", { hasText: "stopped" }).waitFor();
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
});
