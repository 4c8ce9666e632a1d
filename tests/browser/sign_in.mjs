// A user signs in through the panel, in a headless Chromium.
//
// `node sign_in.mjs DAEMON_URL MCP_URL SCREENSHOTS` exits with 0 if everything was as a user expects it. See README.md.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [daemon, mcp, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: sign_in.mjs DAEMON_URL MCP_URL SCREENSHOTS");
  process.exit(2);
}
await mkdir(folder, { recursive: true });

// Something is always running beside a test.
const PATIENCE = 30_000;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
});
const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
context.setDefaultTimeout(PATIENCE);
// The provider's pages want fonts from elsewhere.
await context.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());

let shots = 0;
const shoot = async (page, name) => {
  shots += 1;
  await page.evaluate(() => scrollTo(0, 0));
  return page.screenshot({ path: join(folder, `${String(shots).padStart(2, "0")}-${name}.png`), fullPage: true });
};

const complaints = [];
const panel = await context.newPage();
panel.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
panel.on("console", (message) => message.type() === "error" && complaints.push(`console: ${message.text()}`));
const button = (name) => panel.getByRole("button", { name, exact: true });
const state = (text) => panel.locator("#details .badge", { hasText: text }).first().waitFor();

// The user's part of a sign-in, from the click that opens the dialog to the page that says that it is done.
async function signIn(opener, name) {
  await button(opener).click();
  const link = panel.getByRole("link", { name: "Open the sign-in page" });
  await link.waitFor();
  await shoot(panel, `${name}-dialog`);
  const opened = context.waitForEvent("page");
  await link.click();
  const page = await opened;
  for (let step = 1; ; step += 1) {
    assert(step < 6, `still at ${page.url()}`);
    await page.waitForLoadState("domcontentloaded");
    if (page.url().startsWith(daemon)) break;
    await shoot(page, `${name}-provider-${step}`);
    const login = page.locator("input[name=login]");
    if ((await login.count()) > 0) {
      await login.fill("ada");
      await page.locator("input[name=password]").fill("any");
    }
    const before = page.url();
    await page.locator("button[type=submit]").first().click();
    await page.waitForURL((url) => url.href !== before);
  }
  assert.match(await page.locator("body").innerText(), /You are signed in/);
  assert(!new URL(page.url()).searchParams.has("code") || !(await page.content()).includes("code="), "the page repeats the code");
  await shoot(page, `${name}-done`);
  await page.close();
  await panel.locator("dialog").waitFor({ state: "detached" });
}

const tool = (name) => panel.locator("li.tool").filter({ has: panel.getByRole("heading", { name, exact: true }) });

async function enable(name) {
  await tool(name).getByRole("switch").check();
  await tool(name).getByText("Try a call").waitFor();
}

async function beginCall(name) {
  const trial = tool(name).locator("details").first();
  if (!(await trial.evaluate((element) => element.open))) await trial.locator("summary").first().click();
  await trial.getByRole("button", { name: "Call", exact: true }).click();
}

const result = (name, text) => tool(name).locator("pre", { hasText: text }).first().waitFor();

try {
  await panel.goto(daemon);
  await panel.locator(".link.up").waitFor();
  await button("Add").first().click();
  await panel.getByLabel("Name", { exact: true }).fill("Oidc");
  await panel.getByLabel("URL of the MCP endpoint").fill(mcp);
  await panel.locator("dialog button.primary").click();
  await state("Sign-in needed");
  await shoot(panel, "added");

  await signIn("Sign in", "first");
  await state("Ready");
  await shoot(panel, "ready");

  await enable("whoami");
  await beginCall("whoami");
  await result("whoami", "ada with mcp:basic");
  await shoot(panel, "called");

  await enable("administer");
  await beginCall("administer");
  await panel.getByText("A call waits for you to allow more: mcp:admin").waitFor();
  await shoot(panel, "more-wanted");
  await signIn("Allow more", "more");
  await result("administer", "administered");
  await shoot(panel, "more-allowed");

  await button("Explain").click();
  const trace = panel.locator("dialog ol.trace");
  await trace.waitFor();
  await shoot(panel, "explained");
  const steps = await trace.innerText();
  for (const expected of ["challenge", "resource metadata", "authorization server", "registration", "authorization", "token"]) {
    assert(steps.includes(expected), `no step “${expected}” in:\n${steps}`);
  }
  await panel.locator("dialog").getByRole("button", { name: "Close" }).click();

  await button("Sign out").click();
  await state("Sign-in needed");
  await shoot(panel, "signed-out");
  assert.equal(await button("Sign out").count(), 0, "there is nothing to sign out of");

  await button("Remove").first().click();
  await panel.locator("dialog button.danger").click();
  await panel.locator("#list-empty").waitFor();
  assert.deepEqual(complaints, []);
  console.log(`as a user expects it; ${shots} screenshots in ${folder}`);
} catch (error) {
  await shoot(panel, "failed").catch(() => {});
  console.error(error, complaints);
  process.exitCode = 1;
} finally {
  await browser.close();
}
