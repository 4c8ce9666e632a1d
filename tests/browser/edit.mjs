// A user changes connectors, in a headless Chromium: name, command line, variables, address and headers.
//
// `node edit.mjs DAEMON SCREENSHOTS` exits with 0 if everything was as a user expects it. See README.md.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openBrowser } from "./browser.mjs";
import { Daemon, Home } from "./daemon.mjs";
import { listen } from "./mcp_server.mjs";

const [executable, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: edit.mjs DAEMON SCREENSHOTS");
  process.exit(2);
}

const SERVER = fileURLToPath(new URL("mcp_server.mjs", import.meta.url));
const MANIFEST = "state/connectors.json";
const PLAIN_SECRET = "ghp_cGxhaW5wbGFpbnBsYWlucGxhaW5wbGFpbnBs";
const NEW_SECRET = "sk-bmV3bmV3bmV3bmV3bmV3bmV3";
const NEWER_SECRET = "sk-bmV3ZXJuZXdlcm5ld2VybmV3ZXJuZXdlcg";
const HEADER_SECRET = "Bearer aGVhZGVyaGVhZGVyaGVhZGVy";
const OTHER_HEADER_SECRET = "b3RoZXJvdGhlcm90aGVyb3RoZXI";
const SECRETS = [PLAIN_SECRET, NEW_SECRET, NEWER_SECRET, HEADER_SECRET, OTHER_HEADER_SECRET];
const TWO_LINES = "first line\nsecond line";
// It is shown from right to left.
const TURNED = "--turned=\u202eabc";
const LONG = `TEST_LONG_${"ABCDEFGHIJ".repeat(9)}`;

const home = await Home.create();
const server = await listen();
const elsewhere = await listen();
const daemon = new Daemon(executable, home);
const browser = await openBrowser(folder);
const { panel } = browser;
const dialog = panel.locator("dialog");
const edit = browser.button("Edit");
const item = (name) => panel.locator("#list .item").filter({ has: panel.getByText(name, { exact: true }) });
const inDialog = (name) => dialog.getByRole("button", { name, exact: true });
const labelled = (name) => dialog.getByLabel(name, { exact: true });
const failure = dialog.locator("[role=alert]:visible");

/** The parameters of every `connectors.update` that the page has sent. */
const updates = [];
panel.on("websocket", (socket) =>
  socket.on("framesent", ({ payload }) => {
    const { method, params } = JSON.parse(payload);
    if (method === "connectors.update") updates.push(params);
  }),
);

/** Selects a connector and waits until it is in a state. */
async function select(name, state) {
  await item(name).click();
  await panel.locator("#details").getByRole("heading", { name, exact: true }).waitFor();
  await browser.state(state);
}

/** The choice about a variable that there is. */
function variable(name) {
  return dialog.getByRole("combobox", { name: new RegExp(`^${name}( secret)?$`) });
}

async function save() {
  await inDialog("Save").click();
  await dialog.waitFor({ state: "detached" });
  await panel.locator("button:focus", { hasText: /^Edit$/ }).waitFor();
}

async function addVariable(button, label, name, value) {
  await inDialog(button).click();
  await labelled(label).last().fill(name);
  await dialog.locator(".pair").filter({ has: panel.getByLabel(label, { exact: true }) }).last().getByLabel("Value").fill(value);
}

/** What the child says of its variables, line by line. */
async function variables() {
  await browser.beginCall("variables");
  await browser.result("variables", "TEST_STARTS has");
  return (await browser.tool("variables").locator("pre", { hasText: "TEST_STARTS has" }).first().innerText()).split("\n");
}

const lengths = (values) => Object.entries(values).map(([name, value]) => `${name} has ${value.length} characters`).sort();

/** The arguments that the child was started with last. */
async function lastArguments() {
  return JSON.parse((await home.read("starts")).trim().split("\n").at(-1));
}

/** Changes a connector of the settings, as another program does. */
async function byHand(slug, change) {
  const settings = JSON.parse(await home.read(MANIFEST));
  change(settings.connectors.find((connector) => connector.slug === slug), settings);
  await home.write(MANIFEST, settings);
}

async function writeFiles() {
  const local = (slug, name, more, fields) => ({ slug, name, url: "", stdio: { command: process.execPath, args: [SERVER], ...more }, enabled_tools: ["variables"], ...fields });
  const starts = home.path("starts");
  await home.write(MANIFEST, {
    connectors: [
      local("notes", "Notes", {
        args: [SERVER, "--say", TWO_LINES, TURNED],
        env: { TEST_MODE: "fast", TEST_OLD: "old", TEST_API_TOKEN: PLAIN_SECRET, TEST_STARTS: starts, [LONG]: "long" },
      }),
      local("team", "Of the team", {}, { proposal: { file: home.path("project/.car/connectors.toml"), hash: "0".repeat(64) } }),
      local("engine", "With an engine", {}, { engine: true }),
      { slug: "remote", name: "Remote", url: server.url },
    ],
  });
  browser.keepSecret(...SECRETS);
}

async function changeNothing() {
  await panel.goto(daemon.url);
  await panel.locator(".link.up").waitFor();
  await select("Notes", "Ready");
  const before = await home.read(MANIFEST);
  for (const leave of ["Escape", "Cancel", "Save"]) {
    await browser.tabTo(edit);
    await panel.keyboard.press("Enter");
    await labelled("Name").waitFor();
    assert(await labelled("Name").evaluate((input) => input === document.activeElement), "the focus is not on the name");
    if (leave !== "Save") {
      await panel.keyboard.type(" that are nobody's");
      await variable("TEST_OLD").selectOption("Remove");
    }
    if (leave !== "Escape") await browser.tabTo(inDialog(leave));
    await panel.keyboard.press(leave === "Escape" ? "Escape" : "Enter");
    await dialog.waitFor({ state: "detached" });
    await panel.locator("button:focus", { hasText: /^Edit$/ }).waitFor();
  }
  assert.deepEqual(updates, []);
  assert.equal(await home.read(MANIFEST), before);
}

async function changeTheCommandLine() {
  await edit.click();
  await browser.shoot("local");
  assert.equal(await dialog.getByRole("checkbox", { name: "Run by the engine" }).count(), 0, "an engine that is not known of");
  const args = labelled("Argument");
  assert.equal(await args.nth(2).inputValue(), TWO_LINES);
  await dialog.getByText("With what hides in it: --turned=\\u{202e}abc", { exact: true }).waitFor();
  await inDialog("Add an argument").click();
  await panel.keyboard.type("--new");
  // By keyboard, before the last one that there was.
  await browser.tabTo(dialog.getByRole("button", { name: "Move this row up" }).last());
  await panel.keyboard.press("Enter");
  await args.nth(1).fill("--loud");
  await labelled("Name").fill("Renamed");
  await browser.shoot("command-line");
  await save();
  const changed = [SERVER, "--loud", TWO_LINES, "--new", TURNED];
  assert.deepEqual(updates.splice(0), [{ slug: "notes", name: "Renamed", args: changed }]);
  await select("Renamed", "Ready");
  assert.deepEqual(await lastArguments(), changed.slice(1));
  const { name, stdio } = await home.connector("notes");
  assert.deepEqual([name, stdio.args], ["Renamed", changed]);
}

async function changeVariables() {
  await edit.click();
  await variable("TEST_MODE").selectOption("New value");
  const mode = labelled("New value of TEST_MODE");
  assert.equal(await mode.getAttribute("type"), "text");
  await mode.fill("slower");
  await variable("TEST_OLD").selectOption("Remove");
  await variable("TEST_API_TOKEN").selectOption("Keep as a secret");
  await addVariable("Add a variable", "Variable", "TEST_MODE", "added");
  await addVariable("Add a secret variable", "Secret variable", "TEST_SECRET", NEW_SECRET);
  assert.equal(await dialog.locator(".pair input[type=password][autocomplete=off]").count(), 1);
  await inDialog("Save").click();
  await failure.getByText("“TEST_MODE” is there already").waitFor();
  assert.deepEqual(updates, [], "sent what cannot be meant");
  // What the daemon refuses.
  await labelled("Variable").fill("TEST=ADDED");
  await inDialog("Save").click();
  await failure.getByText("a variable's name is empty, or contains `=`").waitFor();
  assert.equal(updates.splice(0).length, 1);
  await browser.shoot("refused");

  // Somebody else changes it meanwhile: what they have done stays, and so does what was typed.
  await byHand("notes", (connector) => {
    connector.name = "Renamed by hand";
    connector.stdio.env.TEST_MEANWHILE = "meanwhile";
  });
  await panel.locator("#details").getByText("Renamed by hand").waitFor();
  assert.deepEqual([await labelled("Name").inputValue(), await mode.inputValue(), await labelled("Secret variable").inputValue()], ["Renamed", "slower", "TEST_SECRET"]);
  await labelled("Variable").fill("TEST_ADDED");
  await panel.setViewportSize({ width: 400, height: 800 });
  await panel.emulateMedia({ colorScheme: "dark" });
  await browser.shoot("variables-narrow-and-dark");
  await inDialog("Save").scrollIntoViewIfNeeded();
  await browser.shoot("variables-narrow-and-dark-end");
  await panel.emulateMedia({ colorScheme: "light" });
  await panel.setViewportSize({ width: 1200, height: 900 });
  await save();
  const env = { TEST_MODE: "slower", TEST_ADDED: "added", TEST_MEANWHILE: null, TEST_STARTS: null, [LONG]: null };
  assert.deepEqual(updates.splice(0), [{ slug: "notes", env, secret_env: { TEST_API_TOKEN: null, TEST_SECRET: NEW_SECRET } }]);
  await select("Renamed by hand", "Ready");
  const { name, stdio } = await home.connector("notes");
  const plain = { TEST_ADDED: "added", TEST_MEANWHILE: "meanwhile", TEST_MODE: "slower", TEST_STARTS: home.path("starts"), [LONG]: "long" };
  assert.deepEqual([name, stdio.env, stdio.secret_env.toSorted()], ["Renamed by hand", plain, ["TEST_API_TOKEN", "TEST_SECRET"]]);
  for (const file of [MANIFEST, `${MANIFEST}.bak`]) {
    for (const secret of [PLAIN_SECRET, NEW_SECRET]) assert(!(await home.read(file)).includes(secret), `a secret is in ${file}`);
  }
  assert.deepEqual(await variables(), lengths({ ...plain, TEST_API_TOKEN: PLAIN_SECRET, TEST_SECRET: NEW_SECRET }));
  await browser.shoot("variables-changed");
}

/** What is sent when others have changed the variables meanwhile. */
async function agreeWithOthers() {
  const there = { env: ["A", "B"], secret_env: ["S"] };
  const cases = [
    [{}, {}, there, {}],
    [{ A: ["set", "v"] }, {}, { env: ["A", "C"], secret_env: ["B"] }, { env: { C: null, B: null, A: "v" } }],
    // It was plain when it was shown.
    [{ A: ["set", "v"] }, {}, { env: [], secret_env: ["A"] }, { secret_env: { A: "v" } }],
    [{ A: ["protect"], S: ["set_secret", "v"] }, {}, there, { secret_env: { A: null, S: "v" } }],
    [{ A: ["remove"] }, {}, { env: ["B"] }, {}],
    [{ S: ["remove"] }, {}, there, { env: { A: null, B: null } }],
    [{ S: ["remove"] }, { S: "v" }, there, { env: { A: null, B: null, S: "v" } }],
    [{}, { X: "v" }, { env: [], secret_env: ["S", "X"] }, { secret_env: { X: "v" } }],
    [{}, { "": "v" }, there, "A variable has no name."],
    [{}, { A: "v" }, there, "The variable “A” is there already: it can be given a new value."],
  ];
  const sent = await panel.evaluate(async ({ there, cases }) => {
    const { Variables } = await import("/panel/variables.js");
    return cases.map(([choices, added, now]) => {
      const variables = new Variables({ command: there });
      const [known, plain] = variables.element.querySelectorAll("fieldset");
      for (const row of known.querySelectorAll(".variable")) {
        const [choice, value] = choices[row.querySelector("code").textContent] ?? ["keep"];
        row.querySelector("select").value = choice;
        row.querySelector("select").dispatchEvent(new Event("change"));
        if (value) row.querySelector("input").value = value;
      }
      for (const [index, pair] of Object.entries(added).entries()) {
        plain.querySelector(":scope > button").click();
        plain.querySelectorAll(".pair")[index].querySelectorAll("input").forEach((input, part) => (input.value = pair[part]));
      }
      try {
        return variables.params(now);
      } catch (error) {
        return error.message;
      }
    });
  }, { there, cases });
  assert.deepEqual(sent, cases.map(([, , , expected]) => expected));
}

async function changeASecret() {
  await edit.click();
  await variable("TEST_SECRET").selectOption("New value");
  const value = labelled("New value of TEST_SECRET");
  assert.deepEqual([await value.getAttribute("type"), await value.getAttribute("autocomplete"), await value.inputValue()], ["password", "off", ""]);
  await inDialog("Save").click();
  assert(await value.evaluate((input) => input.validity.valueMissing), "sent without a value");
  await value.fill(NEWER_SECRET);
  await browser.shoot("secret");
  await save();
  // All others stay, without being named.
  assert.deepEqual(updates.splice(0), [{ slug: "notes", secret_env: { TEST_SECRET: NEWER_SECRET } }]);
  await browser.state("Ready");
  assert((await variables()).includes(`TEST_SECRET has ${NEWER_SECRET.length} characters`));

  await edit.click();
  await variable("TEST_API_TOKEN").selectOption("Remove");
  await save();
  await browser.state("Ready");
  assert.deepEqual((await home.connector("notes")).stdio.secret_env, ["TEST_SECRET"]);
  assert(!(await variables()).some((line) => line.startsWith("TEST_API_TOKEN")), "the child still has it");
  updates.splice(0);
}

async function changeARemoteServer() {
  await select("Remote", "Ready");
  await edit.click();
  await inDialog("Add a header").click();
  await labelled("Header").fill("Authorization");
  await labelled("Value").fill(HEADER_SECRET);
  assert.equal(await labelled("Value").getAttribute("type"), "password");
  await browser.shoot("remote");
  await save();
  assert.deepEqual(updates.splice(0), [{ slug: "remote", headers: { Authorization: HEADER_SECRET } }]);
  await browser.state("Ready");
  assert.equal(server.requests.at(-1).headers.authorization, HEADER_SECRET);

  await edit.click();
  const warning = dialog.getByText("The stored headers go to this other server, too.");
  assert(!(await warning.isVisible()));
  await labelled("URL of the MCP endpoint").fill(elsewhere.url);
  await warning.waitFor();
  await browser.shoot("elsewhere");
  await dialog.getByRole("checkbox", { name: "Replace all headers" }).check();
  assert(!(await warning.isVisible()));
  assert.deepEqual([await labelled("Header").inputValue(), await labelled("Value").inputValue()], ["Authorization", ""]);
  await inDialog("Save").click();
  await failure.getByText("The header “Authorization” has no value.").waitFor();
  await labelled("Header").fill("X-Other");
  await labelled("Value").fill(OTHER_HEADER_SECRET);
  await browser.shoot("headers");
  await save();
  assert.deepEqual(updates.splice(0), [{ slug: "remote", url: elsewhere.url, headers: { "X-Other": OTHER_HEADER_SECRET } }]);
  await browser.state("Ready");
  assert(elsewhere.requests.length > 0 && elsewhere.requests.every(({ headers }) => headers["x-other"] === OTHER_HEADER_SECRET && !headers.authorization), "not these headers");
  const { url, secret_headers } = await home.connector("remote");
  assert.deepEqual([url, secret_headers], [elsewhere.url, ["X-Other"]]);

  await edit.click();
  await dialog.getByRole("checkbox", { name: "Replace all headers" }).check();
  await inDialog("Remove this row").click();
  await save();
  assert.deepEqual(updates.splice(0), [{ slug: "remote", headers: {} }]);
  assert.deepEqual((await home.connector("remote")).secret_headers ?? [], []);
}

async function changeWhatIsSpecial() {
  await select("Of the team", "Ready");
  await edit.click();
  await dialog.getByText(`It comes from ${home.path("project/.car/connectors.toml")}.`).waitFor();
  await browser.shoot("of-the-team");
  await inDialog("Cancel").click();

  await select("With an engine", "Ready");
  await edit.click();
  await dialog.getByRole("checkbox", { name: "Run by the engine" }).uncheck();
  await browser.shoot("engine");
  await save();
  assert.deepEqual(updates.splice(0), [{ slug: "engine", engine: false }]);
  assert.notEqual((await home.connector("engine")).engine, true);
}

async function changeWhatIsGone() {
  await edit.click();
  await labelled("Name").fill("Gone");
  await byHand("engine", (connector, settings) => settings.connectors.splice(settings.connectors.indexOf(connector), 1));
  await panel.locator("#details", { hasText: "Select a connector" }).waitFor();
  await inDialog("Save").click();
  await failure.waitFor();
  assert.equal(await labelled("Name").inputValue(), "Gone");
  await browser.shoot("gone");
  await panel.keyboard.press("Escape");
  await panel.locator("#list-title:focus").waitFor();
}

/** What fails when nobody looks at the form any more is said beside the connector. */
async function leaveTooEarly() {
  const page = await browser.context.newPage();
  let arrived;
  const asked = new Promise((resolve) => (arrived = resolve));
  await page.routeWebSocket(/.*/, (socket) => {
    const daemon = socket.connectToServer();
    socket.onMessage((text) => {
      const { id, method } = JSON.parse(text);
      if (method !== "connectors.update") daemon.send(text);
      else arrived(() => socket.send(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32049, message: "the disk is full" } })));
    });
  });
  await page.goto(daemon.url);
  await page.locator("#list .item", { hasText: "Remote" }).click();
  await page.getByRole("button", { name: "Edit", exact: true }).click();
  await page.getByLabel("Name", { exact: true }).fill("Never");
  await page.keyboard.press("Enter");
  const refuse = await asked;
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  refuse();
  await page.locator("#details [role=alert]:visible", { hasText: "the disk is full." }).waitFor();
  await browser.shoot("failed-later", page);
  await page.close();
}

try {
  await browser.run(async () => {
    await writeFiles();
    await daemon.start();
    await changeNothing();
    await changeTheCommandLine();
    await changeVariables();
    await agreeWithOthers();
    await changeASecret();
    await changeARemoteServer();
    await changeWhatIsSpecial();
    await changeWhatIsGone();
    await leaveTooEarly();
    for (const secret of SECRETS) assert(!daemon.log.includes(secret), "a secret is in the log");
  });
} finally {
  await daemon.stop();
  if (process.exitCode) console.error(daemon.log);
  server.close();
  elsewhere.close();
  await home.remove();
}
