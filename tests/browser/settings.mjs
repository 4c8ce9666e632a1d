// A user decides about a project's team file, takes over other clients' servers, and looks after secrets, in a headless Chromium.
//
// `node settings.mjs DAEMON SCREENSHOTS` exits with 0 if everything was as a user expects it. See README.md.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openBrowser } from "./browser.mjs";
import { Daemon, Home } from "./daemon.mjs";
import { listen } from "./mcp_server.mjs";

const [executable, folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: settings.mjs DAEMON SCREENSHOTS");
  process.exit(2);
}

const SERVER = fileURLToPath(new URL("mcp_server.mjs", import.meta.url));
const TEAM_FILE = "project/.car/connectors.toml";
const TEAM_TITLE = "From this project’s team file";
const MANIFEST = "state/connectors.json";
const CURSOR_SECRET = "Bearer ghp_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2Vj";
const PLAIN_SECRET = "ghp_cGxhaW5wbGFpbnBsYWlucGxhaW5wbGFpbnBs";
const ASKED_SECRET = "sk-YXNrZWRhc2tlZGFza2VkYXNrZWRhc2tlZGFz";
const TEAM_SECRET = "dGVhbXRlYW10ZWFtdGVhbXRlYW10ZWFt";
const PASSPHRASE = "correct horse battery staple";
const SECRETS = [CURSOR_SECRET, CURSOR_SECRET.replace("Bearer ", ""), PLAIN_SECRET, ASKED_SECRET, TEAM_SECRET, PASSPHRASE];
// Nothing breaks it but the edge of the page.
const LONG = `--filter=${"abcdefghij".repeat(24)}`;

const home = await Home.create();
const server = await listen();
const daemon = new Daemon(executable, home);
const browser = await openBrowser(folder);
const { panel } = browser;
const dialog = panel.locator("dialog");
const card = (name) => panel.locator("#proposals article").filter({ has: panel.getByRole("heading", { name, exact: true }) });
const item = (name) => panel.locator("#list .item").filter({ has: panel.getByText(name, { exact: true }) });
const inDialog = (name) => dialog.getByRole("button", { name, exact: true });

/** Selects a connector and waits until it is in a state. */
async function select(name, state) {
  await item(name).click();
  await panel.locator("#details").getByRole("heading", { name, exact: true }).waitFor();
  await browser.state(state);
}

/** What has the focus, in its words. */
function focused() {
  return panel.evaluate(() => (document.activeElement === document.body ? "nothing" : document.activeElement.textContent));
}

function notes(args) {
  const shown = [SERVER, ...args].map((arg) => JSON.stringify(arg)).join(", ");
  return `[[connector]]
name = "Notes of the team"
command = ${JSON.stringify(process.execPath)}
args = [${shown}]
env = { TEST_STARTS = ${JSON.stringify(home.path("starts"))}, MODE = "read-only" }
`;
}

function teamFile(...more) {
  const docs = `[[connector]]\nname = "Docs"\nurl = "${server.url}"\nsecret_headers = ["X-Team-Key"]\n`;
  const mistake = `[[connector]]\nname = "Broken"\nurl = "ftp://files.example/mcp"\n`;
  return `${notes(["--say", "two words", LONG, ...more])}\n${docs}\n${mistake}`;
}

async function writeFiles() {
  await home.write(TEAM_FILE, teamFile());
  await home.write(MANIFEST, {
    connectors: [
      {
        slug: "plain",
        name: "By hand",
        url: "",
        stdio: { command: process.execPath, args: [SERVER], env: { TEST_API_TOKEN: PLAIN_SECRET, TEST_MODE: "fast" } },
        enabled_tools: ["variables"],
      },
    ],
  });
  await home.write("user/.cursor/mcp.json", {
    mcpServers: {
      tracker: { url: server.url, headers: { Authorization: CURSOR_SECRET } },
      resting: { command: process.execPath, args: [SERVER, "resting"], env: { TEST_MODE: "slow" }, disabled: true },
    },
  });
  await home.write("user/.codex/config.toml", 'model = "any"\n[mcp_servers.docs]\ncommand = "npx\n');
  await home.write("user/.config/Code/User/mcp.json", {
    inputs: [{ id: "key", type: "promptString", description: "Key of the search", password: true }],
    servers: {
      search: { type: "stdio", command: process.execPath, args: [SERVER, "search"], env: { TEST_SEARCH_KEY: "${input:key}" } },
    },
  });
  browser.keepSecret(...SECRETS);
}

async function decideAboutProposals() {
  await panel.goto(daemon.url);
  await panel.locator(".link.up").waitFor();
  await card("Notes of the team").waitFor();
  await card("Docs").waitFor();
  await browser.shoot("proposed");
  await panel.setViewportSize({ width: 400, height: 800 });
  await panel.emulateMedia({ colorScheme: "dark" });
  await browser.shoot("proposed-narrow-and-dark");
  await panel.emulateMedia({ colorScheme: "light" });
  await panel.setViewportSize({ width: 1200, height: 900 });
  const notesText = await card("Notes of the team").innerText();
  for (const part of [process.execPath, SERVER, "--say", "two words", LONG, "MODE=read-only", home.path("project"), home.path(TEAM_FILE)]) {
    assert(notesText.includes(part), `no ${part} in:\n${notesText}`);
  }
  const docsText = await card("Docs").innerText();
  for (const part of [server.url, "X-Team-Key", home.path(TEAM_FILE)]) assert(docsText.includes(part), `no ${part} in:\n${docsText}`);
  const mistake = await panel.locator("#proposals [role=alert]:visible").innerText();
  assert(mistake.startsWith(`${home.path(TEAM_FILE)}:12: `), mistake);
  assert.equal(await panel.locator("#list .item").count(), 1, "only the user's own connector is in the list");
  assert.deepEqual([server.requests.length, await home.read("starts")], [0, ""], "something was dialled or started");

  // By keyboard, with a file that changes between the look at it and the decision.
  const accept = card("Notes of the team").getByRole("button", { name: "Accept", exact: true });
  const reason = panel.locator("#proposals .failure");
  await browser.tabTo(accept);
  await home.write(TEAM_FILE, teamFile("--loud"));
  await panel.keyboard.press("Enter");
  await card("Notes of the team").getByText("--loud").waitFor();
  assert.match(await reason.innerText(), /“Notes of the team”: .* is no longer what was shown; look at it again, then decide/);
  assert.equal(await focused(), TEAM_TITLE);
  await browser.shoot("not-accepted");
  assert.equal(await home.read("starts"), "", "something was started");
  await browser.tabTo(reason.getByRole("button", { name: "Dismiss" }));
  await panel.keyboard.press("Enter");
  await reason.waitFor({ state: "hidden" });
  assert.equal(await focused(), TEAM_TITLE);

  await browser.tabTo(accept);
  await panel.keyboard.press("Enter");
  await item("Notes of the team").waitFor();
  await card("Notes of the team").waitFor({ state: "detached" });
  assert.equal(await focused(), TEAM_TITLE);
  await select("Notes of the team", "Ready");
  await browser.shoot("accepted");
  assert.notEqual(await home.read("starts"), "");
  assert.equal((await home.connector("notes_of_the_team")).proposal.file, home.path(TEAM_FILE));

  await browser.tabTo(card("Docs").getByRole("button", { name: "Reject", exact: true }));
  await panel.keyboard.press("Enter");
  await card("Docs").waitFor({ state: "detached" });
  assert.equal(await focused(), TEAM_TITLE);
  await browser.shoot("rejected");
  assert.equal(await item("Docs").count(), 0);
  assert.equal(server.requests.length, 0, "what was rejected was dialled");
  assert.equal(await home.connector("docs"), undefined);
}

async function decideAboutAChange() {
  const guarded = `[[connector]]\nname = "Guarded"\ncommand = ${JSON.stringify(process.execPath)}\nargs = [${JSON.stringify(SERVER)}]\nsecret_env = ["TEST_TEAM_KEY"]\n`;
  await home.write(TEAM_FILE, `${notes(["--say", "three short words", LONG])}\n${guarded}`);
  const change = card("Notes of the team");
  await change.waitFor();
  await browser.shoot("changed-in-the-file");
  const text = await change.innerText();
  for (const part of ["two words", "three short words", "goes on as you accepted it"]) assert(text.includes(part), `no ${part} in:\n${text}`);
  assert.equal(await panel.locator("#proposals [role=alert]:visible").count(), 0, "the mistake is gone from the file");
  assert((await home.connector("notes_of_the_team")).stdio.args.includes("two words"), "changed before it was accepted");

  await change.getByRole("button", { name: "Accept the change" }).click();
  await change.waitFor({ state: "detached" });
  await browser.state("Ready");
  await browser.shoot("change-accepted");
  assert((await home.connector("notes_of_the_team")).stdio.args.includes("three short words"));

  await browser.tabTo(card("Guarded").getByRole("button", { name: "Accept", exact: true }));
  await panel.keyboard.press("Enter");
  await browser.tabTo(inDialog("Later"));
  await panel.keyboard.press("Enter");
  // Nothing is left to decide.
  await panel.locator("#list-title:focus").waitFor();
  await select("Guarded", "Secret needed");
  await browser.shoot("secret-needed");
  await browser.button("Enter secrets").click();
  const wanted = dialog.getByLabel("TEST_TEAM_KEY");
  assert.equal(await wanted.getAttribute("type"), "password");
  await wanted.fill(TEAM_SECRET);
  await browser.shoot("secret-entered");
  await inDialog("Save").click();
  await dialog.waitFor({ state: "detached" });
  await browser.state("Ready");
  assert(!(await home.read(MANIFEST)).includes(TEAM_SECRET), "a secret is in the settings");
  assert(await panel.locator("#proposals").isHidden(), "everything is decided");
}

async function importFromOthers() {
  const entry = (name) => dialog.locator("li").filter({ has: panel.getByText(name, { exact: true }) });
  await browser.button("Import").click();
  await entry("tracker").waitFor();
  await browser.shoot("importable");
  const text = await dialog.innerText();
  for (const part of ["Cursor", "Codex", "Visual Studio Code", "Kept as secrets: Authorization", "Switched off there: it stays so", "Sets TEST_MODE=slow", "line 3, column"]) {
    assert(text.includes(part), `no ${part} in:\n${text}`);
  }
  assert(await entry("tracker").getByRole("checkbox").isChecked());
  assert(!(await entry("resting").getByRole("checkbox").isChecked()), "what is switched off is not offered to be taken over");
  const asked = dialog.getByLabel("Key of the search");
  assert(!(await asked.isVisible()), "asked before it was chosen");

  await entry("resting").getByRole("checkbox").check();
  await entry("search").getByRole("checkbox").check();
  assert.equal(await asked.getAttribute("type"), "password");
  await inDialog("Import").click();
  assert(await asked.evaluate((input) => input.validity.valueMissing), "sent without what is wanted");
  await browser.shoot("importable-asks");
  await asked.fill(ASKED_SECRET);
  await inDialog("Import").click();
  for (const name of ["tracker", "resting", "search"]) await dialog.getByText(`“${name}” is now the connector “${name}”.`).waitFor();
  await browser.shoot("imported");
  await inDialog("Close").click();

  assert.equal((await home.connector("resting")).disabled, true);
  assert.deepEqual((await home.connector("tracker")).secret_headers, ["Authorization"]);
  assert.deepEqual((await home.connector("search")).stdio.secret_env, ["TEST_SEARCH_KEY"]);
  for (const secret of [CURSOR_SECRET, ASKED_SECRET]) assert(!(await home.read(MANIFEST)).includes(secret), "a secret is in the settings");
  await select("resting", "Switched off");
  await select("tracker", "Ready");
  assert(server.requests.every(({ headers }) => headers.authorization === CURSOR_SECRET), "the header was not sent");
  await select("search", "Ready");
  await browser.enable("variables");
  await browser.beginCall("variables");
  await browser.result("variables", `TEST_SEARCH_KEY has ${ASKED_SECRET.length} characters`);
  await browser.shoot("imported-works");
}

async function protectAVariable() {
  await select("By hand", "Ready");
  const notice = panel.locator("#details .notice", { hasText: "TEST_API_TOKEN" });
  await notice.waitFor();
  await browser.shoot("plain-text");
  await browser.tabTo(notice.getByRole("button", { name: "Move to the secret store" }));
  await panel.keyboard.press("Enter");
  await notice.waitFor({ state: "hidden" });
  assert.equal(await focused(), "By hand");
  await browser.shoot("protected");
  const { stdio } = await home.connector("plain");
  assert.deepEqual([stdio.env, stdio.secret_env], [{ TEST_MODE: "fast" }, ["TEST_API_TOKEN"]]);
  for (const name of [MANIFEST, `${MANIFEST}.bak`]) assert(!(await home.read(name)).includes(PLAIN_SECRET), `the secret is in ${name}`);
  const facts = await panel.locator("#details .facts").innerText();
  assert.match(facts, /Secret variables\s+TEST_API_TOKEN/);
}

/**
 * Moving to a keychain, by keyboard. There is none here: the page is told that there is one, and later that the secrets are in it.
 * The refusal in between is the daemon's own, and comes when the page has been told something else meanwhile.
 */
async function moveSecrets() {
  const page = await browser.context.newPage();
  const told = { notice: "There is a keychain.", can_move_to: ["keychain"] };
  const sent = [];
  let toPage;
  let arrived;
  await page.routeWebSocket(/.*/, (socket) => {
    toPage = socket;
    const daemon = socket.connectToServer();
    const asked = new Map();
    socket.onMessage((text) => {
      const { id, method } = JSON.parse(text);
      asked.set(id, method);
      sent.push(method);
      daemon.send(text);
    });
    daemon.onMessage((text) => {
      const message = JSON.parse(text);
      const method = asked.get(message.id);
      if (method === "connectors.secrets") Object.assign(message.result, told);
      if (method === "connectors.move_secrets") arrived((result) => socket.send(JSON.stringify(result ? { jsonrpc: "2.0", id: message.id, result } : message)));
      else socket.send(JSON.stringify(message));
    });
  });
  const secrets = page.locator("#secrets");
  const move = secrets.getByRole("button", { name: "Move to the keychain", exact: true });
  /** The way to answer: with what the daemon says, or with another result. */
  const begin = async () => {
    const answer = new Promise((resolve) => (arrived = resolve));
    await browser.tabTo(move);
    await page.keyboard.press("Enter");
    await browser.tabTo(page.locator("dialog").getByRole("button", { name: "Move", exact: true }));
    await page.keyboard.press("Enter");
    return answer;
  };
  await page.goto(daemon.url);
  let answer = await begin();
  told.notice = "The keychain is about to be locked.";
  toPage.send(JSON.stringify({ jsonrpc: "2.0", method: "connectors.event", params: { kind: "state", slug: "plain", state: "backoff", at: 0 } }));
  await secrets.getByText(told.notice).waitFor();
  // What goes on cannot be begun again.
  await page.locator("[aria-disabled=true]:focus", { hasText: "Move to the keychain" }).waitFor();
  await page.keyboard.press("Enter");
  await move.click({ force: true });
  assert.equal(await page.locator("dialog").count(), 0, "asked once more");
  answer();
  await secrets.locator(".failure:visible", { hasText: "keychain" }).waitFor();
  await page.locator("button:not([aria-disabled]):focus", { hasText: "Move to the keychain" }).waitFor();
  await browser.shoot("not-moved", page);

  answer = await begin();
  Object.assign(told, { notice: "Secrets are kept in the keychain.", can_move_to: [] });
  answer({ moved: 1, left: 0, kind: "keychain" });
  await page.locator("#secrets p:focus", { hasText: told.notice }).waitFor();
  assert.equal(await secrets.locator(".failure:visible").count(), 0);
  await browser.shoot("moved", page);
  assert.equal(sent.filter((method) => method === "connectors.move_secrets").length, 2);
  await page.close();
}

async function lockAndUnlock() {
  const secrets = panel.locator("#secrets");
  assert.match(await secrets.innerText(), /vault/);
  await browser.button("Set a passphrase").click();
  await dialog.getByLabel("New passphrase").fill(PASSPHRASE);
  await dialog.getByLabel("The same again").fill(`${PASSPHRASE}s`);
  await inDialog("Set").click();
  await dialog.getByText("The two are not the same.").waitFor();
  await browser.shoot("passphrase");
  await dialog.getByLabel("The same again").fill(PASSPHRASE);
  await inDialog("Set").click();
  await dialog.waitFor({ state: "detached" });
  await browser.button("Change the passphrase").waitFor();
  await browser.shoot("passphrase-set");

  await daemon.stop();
  await panel.locator(".link.down").waitFor();
  await browser.shoot("daemon-away");
  await daemon.start(daemon.port);
  await panel.locator(".link.up").waitFor();
  browser.forgiveAbsence();
  const passphrase = secrets.getByLabel("Passphrase of the vault");
  await passphrase.waitFor();
  await browser.state("Failed");
  await browser.shoot("locked");
  assert.match(await secrets.innerText(), /protected by a passphrase, which has to be entered/);
  assert.match(await panel.locator("#details .notice.bad:visible").innerText(), /vault is locked/);

  // Connectors go on trying, and what they cause must not disturb whoever is typing.
  await passphrase.focus();
  await browser.button("Clear").evaluate((button) => button.click());
  await panel.locator("#events li", { hasText: "Failed" }).nth(2).waitFor();
  await panel.keyboard.type("wrong");
  assert.equal(await passphrase.inputValue(), "wrong", "the focus is gone");
  await browser.tabTo(browser.button("Unlock"));
  await panel.keyboard.press("Enter");
  await secrets.locator("[role=alert]:visible").waitFor();
  assert.equal(await focused(), "Unlock");
  await browser.shoot("not-unlocked");
  await passphrase.fill(PASSPHRASE);
  await panel.keyboard.press("Enter");
  await passphrase.waitFor({ state: "detached" });
  assert.match(await focused(), /^Secrets are kept in /);
  await browser.state("Ready");
  await browser.beginCall("variables");
  await browser.result("variables", `TEST_API_TOKEN has ${PLAIN_SECRET.length} characters`);
  await browser.shoot("unlocked");
}

async function editByHand() {
  const settings = JSON.parse(await home.read(MANIFEST));
  settings.connectors.find(({ slug }) => slug === "plain").name = "Renamed by hand";
  await home.write(MANIFEST, settings);
  await item("Renamed by hand").waitFor();
  await panel.locator("#details").getByRole("heading", { name: "Renamed by hand", exact: true }).waitFor();
  await browser.state("Ready");
  await browser.shoot("renamed");

  await home.write(MANIFEST, '{"connectors": [\n  {"slug": }\n]}');
  await panel.locator("#problem", { hasText: "line 2, column 12" }).waitFor();
  await browser.shoot("settings-damaged");
  assert.equal(await item("Renamed by hand").count(), 1, "connectors go on");
  await home.write(MANIFEST, settings);
  await panel.locator("#problem").waitFor({ state: "hidden" });
}

try {
  await browser.run(async () => {
    await writeFiles();
    await daemon.start();
    await decideAboutProposals();
    await decideAboutAChange();
    await importFromOthers();
    await protectAVariable();
    await moveSecrets();
    await lockAndUnlock();
    await editByHand();
    for (const secret of SECRETS) assert(!daemon.log.includes(secret), "a secret is in the log");
  });
} finally {
  await daemon.stop();
  if (process.exitCode) console.error(daemon.log);
  server.close();
  await home.remove();
}
