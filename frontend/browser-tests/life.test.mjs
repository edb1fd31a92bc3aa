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
  await page.getByRole("button", { name: word, exact: true }).first().click();
}

/** Opens the confirmation of a delete, and confirms it. */
async function remove(page, name) {
  await page.goto(`/containers/${name}`);
  const asks = page.locator("summary, a, button").filter({ hasText: /^\s*delete/i }).first();
  await asks.click();
  const form = page.locator(`form[action*="/delete"]:visible`).last();
  await form.getByRole("button").first().click();
  await page.waitForURL(/\/containers(\?.*)?$/);
}

/** The words of the events page about one container. */
async function events(page, name) {
  await page.goto("/events");
  return (await page.locator("tr", { hasText: name }).allInnerTexts()).join("\n").toLowerCase();
}

pageTest("a container is created, watched, stopped and deleted, and its events are told", things, {}, async (page, complaints) => {
  await create(page, "watched", "sh -c 'while :; do :; done'");
  await page.getByText("running", { exact: false }).first().waitFor();

  const figures = page.locator("main");
  const first = await figures.innerText();
  await page.waitForFunction((before) => document.querySelector("main").innerText !== before, first);

  await press(page, "Stop");
  await page.getByText("stopped", { exact: false }).first().waitFor();
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
    await page.getByText(word, { exact: false }).first().waitFor();
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
  await page.locator("tr, tbody", { hasText: "arrives" }).getByText("stopped").first().waitFor();
  assert.equal(await page.evaluate(() => window.loadedOnce), true, "the page was not loaded again");
});
