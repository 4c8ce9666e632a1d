// A user signs in through the panel, in a headless Chromium.
//
// `node sign_in.mjs DAEMON_URL MCP_URL SCREENSHOTS` exits with 0 if everything was as a user expects it. See README.md.

import assert from "node:assert/strict";
import { openBrowser } from "./browser.mjs";

const [daemon, mcp, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: sign_in.mjs DAEMON_URL MCP_URL SCREENSHOTS");
  process.exit(2);
}
const browser = await openBrowser(folder);
const { context, panel } = browser;
const button = (name) => browser.button(name);

// The user's part of a sign-in, from the click that opens the dialog to the page that says that it is done.
async function signIn(opener, name) {
  await button(opener).click();
  const link = panel.getByRole("link", { name: "Open the sign-in page" });
  await link.waitFor();
  await browser.shoot(`${name}-dialog`);
  const opened = context.waitForEvent("page");
  await link.click();
  const page = await opened;
  for (let step = 1; ; step += 1) {
    assert(step < 6, `still at ${page.url()}`);
    await page.waitForLoadState("domcontentloaded");
    if (page.url().startsWith(daemon)) break;
    await browser.shoot(`${name}-provider-${step}`, page);
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
  await browser.shoot(`${name}-done`, page);
  await page.close();
  await panel.locator("dialog").waitFor({ state: "detached" });
}

await browser.run(async () => {
  await panel.goto(daemon);
  await panel.locator(".link.up").waitFor();
  await button("Add").first().click();
  await panel.getByLabel("Name", { exact: true }).fill("Oidc");
  await panel.getByLabel("URL of the MCP endpoint").fill(mcp);
  await panel.locator("dialog button.primary").click();
  await browser.state("Sign-in needed");
  await browser.shoot("added");

  await signIn("Sign in", "first");
  await browser.state("Ready");
  await browser.shoot("ready");

  await browser.enable("whoami");
  await browser.beginCall("whoami");
  await browser.result("whoami", "ada with mcp:basic");
  await browser.shoot("called");

  await browser.enable("administer");
  await browser.beginCall("administer");
  await panel.getByText("A call waits for you to allow more: mcp:admin").waitFor();
  await browser.shoot("more-wanted");
  await signIn("Allow more", "more");
  await browser.result("administer", "administered");
  await browser.shoot("more-allowed");

  await button("Explain").click();
  const trace = panel.locator("dialog ol.trace");
  await trace.waitFor();
  await browser.shoot("explained");
  const steps = await trace.innerText();
  for (const expected of ["challenge", "resource metadata", "authorization server", "registration", "authorization", "token"]) {
    assert(steps.includes(expected), `no step “${expected}” in:\n${steps}`);
  }
  await panel.locator("dialog").getByRole("button", { name: "Close" }).click();

  await button("Sign out").click();
  await browser.state("Sign-in needed");
  await browser.shoot("signed-out");
  assert.equal(await button("Sign out").count(), 0, "there is nothing to sign out of");

  await button("Remove").first().click();
  await panel.locator("dialog button.danger").click();
  await panel.locator("#list-empty").waitFor();
});
