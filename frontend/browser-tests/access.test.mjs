// Who gets in: nobody without a login, and a person who signed out is out.
import assert from "node:assert/strict";
import { PASSWORD, belljar, pageTest } from "./harness.mjs";

const things = belljar();

pageTest("a stranger sees the login page and nothing else", things, { storageState: undefined }, async (page) => {
  for (const path of ["/", "/containers", "/events", "/settings"]) {
    await page.goto(path);
    assert.match(page.url(), /\/login/);
  }
});

pageTest("a person signs in with the password, and out again", things, { storageState: undefined }, async (page) => {
  await page.goto("/login");
  await page.locator("input[type=password]").fill("not the password");
  await page.locator("main form button").first().click();
  assert.match(page.url(), /\/login/);
  await page.locator("input[type=password]").fill(PASSWORD);
  await page.locator("main form button").first().click();
  await page.waitForURL(/\/containers/);
  await page.getByRole("button", { name: "Sign out" }).first().click();
  await page.goto("/containers");
  assert.match(page.url(), /\/login/);
});
