// Takes the picture of the README: `node screenshot.mjs PICTURE`. A real server, real containers.
import { mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { chromium } from "playwright-core";
import { PASSWORD, Server, waitUntil } from "./harness.mjs";

const server = new Server();
try {
  const link = await server.setupLink();
  const MIB = 1 << 20;
  const demo = [
    { name: "media", command: ["sh", "-c", "while :; do head -c 20M /dev/urandom | sha256sum; sleep 0.2; done"], limits: { memory_bytes: 256 * MIB, cpus: 0.5 } },
    { name: "database", command: ["sh", "-c", "head -c 40M /dev/zero > /dev/shm/pages; exec sleep 1d"], limits: { memory_bytes: 64 * MIB, pids: 64 } },
    { name: "dns", command: ["sleep", "1d"], limits: { memory_bytes: 32 * MIB, pids: 16 } },
    { name: "greedy", command: ["tail", "/dev/zero"], limits: { memory_bytes: 4 * MIB, memory_swap_bytes: 0 } },
    { name: "photos", command: ["sleep", "1d"], limits: { memory_bytes: 512 * MIB, cpus: 1 } },
    { name: "backup", command: ["true"] },
  ];
  for (const container of demo) await server.create(container);
  await waitUntil("the greedy one is out of memory", async () => (await server.api("GET", "/containers/greedy")).text.includes("out_of_memory"));

  await server.api("POST", "/containers/photos/pause");

  const browser = await chromium.launch({ executablePath: process.env.BELLJAR_CHROMIUM, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 520 }, deviceScaleFactor: 2 });
  await page.goto(link);
  for (const field of await page.locator("input[type=password]").all()) await field.fill(PASSWORD);
  await page.locator("main form button").first().click();
  await page.waitForURL(/\/containers/);
  await page.goto(new URL("/containers", link).href);
  await page.mouse.move(0, 0);
  // Two samples make a rate: wait until a figure has moved.
  const first = await page.locator("main").innerText();
  await page.waitForFunction((before) => document.querySelector("main").innerText !== before, first);
  mkdirSync(dirname(process.argv[2]), { recursive: true });
  rmSync(process.argv[2], { force: true });
  await page.screenshot({ path: process.argv[2] });
  await browser.close();
} finally {
  await server.stop();
}
