// A real server and a real browser for one test file: started with an instance, folders and a port of its own, signed in
// by the one-time link like a person, and removed with everything it made. A test that fails leaves a screenshot of the
// page beside the copy of this file, under target/browser-tests/failures.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, rmdirSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const DEADLINE_MS = 30_000;
const PAUSE_MS = 20;
export const PASSWORD = "a glass bell for a jar";

/** Looks until `look` returns something, and returns it. */
export async function waitUntil(what, look) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${DEADLINE_MS} ms in vain until ${what}`);
    await new Promise((resume) => setTimeout(resume, PAUSE_MS));
  }
}

/** Removes what is empty of an instance's cgroups, in every hierarchy of both versions; what is not there is fine. */
function removeCgroups(instance) {
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    if (!/ - cgroup2? /.test(line)) continue;
    try {
      rmdirSync(join(line.split(" ")[4], instance));
    } catch (error) {
      if (!["ENOENT", "EBUSY"].includes(error.code)) throw error;
    }
  }
}

/** One `belljar serve`, from start to the removal of everything it made. */
export class Server {
  constructor() {
    this.folder = mkdtempSync("/var/tmp/belljar-browser-");
    this.socket = join(this.folder, "run/belljar.sock");
    this.instance = `browser-${process.pid}`;
    const log = openSync(join(this.folder, "output"), "w");
    this.child = spawn(
      process.env.BELLJAR_EXECUTABLE,
      ["serve", "--instance", this.instance, "--listen", "127.0.0.1:0", "--data-dir", join(this.folder, "data"), "--run-dir", join(this.folder, "run")],
      { stdio: ["ignore", log, log] },
    );
    closeSync(log);
    this.ended = new Promise((resolve) => this.child.once("exit", resolve));
  }

  output() {
    return readFileSync(join(this.folder, "output"), "utf8");
  }

  /** The one-time link that the server prints while no password is set. */
  setupLink() {
    return waitUntil("the server prints its one-time link", () => {
      if (this.child.exitCode !== null) throw new Error(`the server ended:\n${this.output()}`);
      return this.output().match(/http:\/\/\S+\/setup\?\S+/)?.[0];
    });
  }

  /** One request over the Unix socket, where root needs no login; resolves to status and body. */
  api(method, path, body) {
    return new Promise((resolve, reject) => {
      const headers = body ? { "content-type": "application/json" } : {};
      const sent = request({ socketPath: this.socket, method, path: `/api/v1${path}`, headers }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (part) => (text += part));
        answer.on("end", () => resolve({ status: answer.statusCode, text }));
      });
      sent.on("error", reject);
      sent.end(body ? JSON.stringify(body) : undefined);
    });
  }

  /** Creates a container over the API; throws unless it was created. */
  async create(body) {
    const answer = await this.api("POST", "/containers", { image: "host", ...body });
    if (answer.status !== 201) throw new Error(answer.text);
    return JSON.parse(answer.text);
  }

  async stop() {
    const answer = await this.api("GET", "/containers").catch(() => ({ text: "[]" }));
    const listed = JSON.parse(answer.text);
    for (const { id } of Array.isArray(listed) ? listed : (Object.values(listed).find(Array.isArray) ?? [])) {
      await this.api("DELETE", `/containers/${id}?force=true`);
    }
    this.child.kill("SIGTERM");
    await this.ended;
    removeCgroups(this.instance);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts a server and a browser for the tests of one file, signs in, and then does what the file has to `prepare`. */
export function belljar(prepare = async () => {}) {
  const things = {};
  before(async () => {
    things.server = new Server();
    const link = await things.server.setupLink();
    things.url = new URL(link).origin;
    // The sandbox of Chromium refuses to run as root; the only page it opens is ours.
    things.browser = await chromium.launch({ executablePath: process.env.BELLJAR_CHROMIUM, args: ["--no-sandbox"] });
    const context = await things.browser.newContext();
    const page = await context.newPage();
    await page.goto(link);
    for (const field of await page.locator("input[type=password]").all()) await field.fill(PASSWORD);
    await page.locator("main form button").first().click();
    await page.waitForURL(/\/containers/);
    things.session = await context.storageState();
    await context.close();
    await prepare(things.server);
  });
  after(async () => {
    await things.browser?.close();
    await things.server?.stop();
  });
  return things;
}

/** A test with a fresh page of a signed-in person; `options` go to the browser (colour scheme, size, no JavaScript). */
export function pageTest(name, things, options, body) {
  test(name, async () => {
    const context = await things.browser.newContext({ baseURL: things.url, storageState: things.session, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    try {
      await body(page, complaints);
    } catch (error) {
      mkdirSync("failures", { recursive: true });
      await page.screenshot({ path: join("failures", `${name.replaceAll(/\W+/g, "_")}.png`), fullPage: true }).catch(() => {});
      error.message += `\n--- the server printed ---\n${things.server.output()}`;
      throw error;
    } finally {
      await context.close();
    }
  });
}
