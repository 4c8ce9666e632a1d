// A headless Chromium with the panel in it: what it shows, says and is told.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

// Something is always running beside a test.
const PATIENCE = 30_000;

/** Elements between one and another, at most, for whoever has a keyboard only. */
const LONGEST_WAY = 200;

/** What the panel says while its daemon is away. */
const AWAY = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|WebSocket connection to/;

/** Opens a browser whose pictures go to `folder`. */
export async function openBrowser(folder) {
  await mkdir(folder, { recursive: true });
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  });
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
  context.setDefaultTimeout(PATIENCE);
  // Some pages want fonts from elsewhere.
  await context.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
  if (process.env.PANEL) await servePanel(context, process.env.PANEL);
  const panel = await context.newPage();
  return new Browser(browser, context, panel, folder);
}

/** The panel's scripts and style from a folder instead of the daemon's own: a change to them is seen without building it. */
async function servePanel(context, folder) {
  const types = { css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
  await context.route(/\/panel\/\w+\.(css|js|svg)$/, async (route) => {
    const name = new URL(route.request().url()).pathname.split("/").at(-1);
    await route.fulfill({ contentType: types[name.split(".").at(-1)], body: await readFile(join(folder, name)) });
  });
}

class Browser {
  #browser;
  #folder;
  #complaints = [];
  #heard = "";
  #secrets = [];

  constructor(browser, context, panel, folder) {
    this.#browser = browser;
    this.#folder = folder;
    this.context = context;
    this.panel = panel;
    this.shots = 0;
    panel.on("pageerror", (error) => this.#complaints.push(`error: ${error.message}`));
    panel.on("console", (message) => {
      this.#heard += `${message.text()}\n`;
      if (message.type() === "error") this.#complaints.push(`console: ${message.text()}`);
    });
    panel.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => (this.#heard += `${payload}\n`)));
  }

  /** What the page has complained about in its console. */
  get complaints() {
    return this.#complaints;
  }

  button(name) {
    return this.panel.getByRole("button", { name, exact: true });
  }

  /** Moves the focus with the keyboard alone. */
  async tabTo(element) {
    await element.waitFor();
    const page = element.page();
    for (let steps = 0; steps < LONGEST_WAY; steps += 1) {
      if (await element.evaluate((element) => element === document.activeElement)) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`no way to ${element} by keyboard`);
  }

  /** Waits until the connector that is selected is shown in this state. */
  state(text) {
    return this.panel.locator("#details .badge", { hasText: text }).first().waitFor();
  }

  /** The card of a tool. */
  tool(name) {
    return this.panel.locator("li.tool").filter({ has: this.panel.getByRole("heading", { name, exact: true }) });
  }

  /** Enables a tool. */
  async enable(name) {
    await this.tool(name).getByRole("switch").check();
    await this.tool(name).getByText("Try a call").waitFor();
  }

  /** Calls a tool with the arguments that the panel suggests. */
  async beginCall(name) {
    const trial = this.tool(name).locator("details").first();
    if (!(await trial.evaluate((element) => element.open))) await trial.locator("summary").first().click();
    await trial.getByRole("button", { name: "Call", exact: true }).click();
  }

  /** Waits for what a call has given. */
  result(name, text) {
    return this.tool(name).locator("pre", { hasText: text }).first().waitFor();
  }

  /** From here on, none of these may be shown, said or sent to the page. */
  keepSecret(...secrets) {
    this.#secrets.push(...secrets);
  }

  /** Fails if a secret has reached the page. */
  async checkSecrets() {
    const shown = `${await this.panel.content()}\n${await this.panel.locator("body").innerText()}`;
    for (const secret of this.#secrets) {
      assert(!shown.includes(secret), `the page has ${secret}`);
      assert(!this.#heard.includes(secret), `the page was told ${secret}`);
    }
  }

  /** Leaves a picture of a page, the panel unless it is another. */
  async shoot(name, page = this.panel) {
    this.shots += 1;
    await page.evaluate(() => scrollTo(0, 0));
    // A dialog covers what is in view, and no more.
    const fullPage = (await page.locator("dialog[open]").count()) === 0;
    await page.screenshot({ path: join(this.#folder, `${String(this.shots).padStart(2, "0")}-${name}.png`), fullPage });
    if (page === this.panel) await this.checkLayout();
    await this.checkSecrets();
  }

  /** Fails if something is wider than its place. */
  async checkLayout() {
    const wide = await this.panel.evaluate(() =>
      [document.documentElement, ...document.querySelectorAll("dialog, .card, .proposals, .side, .details")]
        .filter((element) => element.scrollWidth > element.clientWidth + 1)
        .map((element) => `${element.tagName} ${element.className}`),
    );
    assert.deepEqual(wide, [], "something is wider than its place");
  }

  /** Forgets what the page has said of a daemon that was away. */
  forgiveAbsence() {
    this.#complaints = this.#complaints.filter((complaint) => !AWAY.test(complaint));
  }

  /** Runs a test to its end, and says how it went. */
  async run(test) {
    try {
      await test();
      await this.checkSecrets();
      assert.deepEqual(this.#complaints, []);
      console.log(`as a user expects it; ${this.shots} screenshots in ${this.#folder}`);
    } catch (error) {
      await this.shoot("failed").catch(() => {});
      console.error(error, this.#complaints);
      process.exitCode = 1;
    } finally {
      await this.#browser.close();
    }
  }
}
