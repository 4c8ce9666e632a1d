// A daemon as a child process, with a home of its own.

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

/** A folder for a user, a project and the state of a daemon. */
export class Home {
  /** A new one, empty but for the project's `.git`. */
  static async create() {
    const home = new Home(await realpath(await mkdtemp(join(tmpdir(), "panel-"))));
    await mkdir(join(home.root, "project", ".git"), { recursive: true });
    return home;
  }

  constructor(root) {
    this.root = root;
  }

  path(name) {
    return join(this.root, name);
  }

  /** Writes a file, an object as JSON. */
  async write(name, content) {
    await mkdir(dirname(this.path(name)), { recursive: true });
    await writeFile(this.path(name), typeof content === "string" ? content : JSON.stringify(content, null, 2));
  }

  /** The text of a file, or "" if there is none. */
  async read(name) {
    try {
      return await readFile(this.path(name), "utf8");
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
      return "";
    }
  }

  /** A connector of the settings, or undefined. */
  async connector(slug) {
    return JSON.parse(await this.read("state/connectors.json")).connectors.find((connector) => connector.slug === slug);
  }

  remove() {
    return rm(this.root, { recursive: true, force: true });
  }
}

export class Daemon {
  #executable;
  #home;
  #child = null;
  /** Everything that it has logged. */
  log = "";

  constructor(executable, home) {
    this.#executable = executable;
    this.#home = home;
  }

  /** Starts it in the home's project, with secrets in a vault, and waits until it listens. */
  async start(port = 0) {
    const { PATH } = process.env;
    this.#child = spawn(this.#executable, ["--port", String(port), "--secrets", "vault"], {
      cwd: this.#home.path("project"),
      // Nothing of the home and the settings of whoever runs this.
      env: { PATH, HOME: this.#home.path("user"), CAR_HOME: this.#home.path("state"), XDG_RUNTIME_DIR: this.#home.path("user") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child.stderr.on("data", (data) => (this.log += data));
    for await (const line of createInterface({ input: this.#child.stdout })) {
      this.url = line.replace("listening on ", "");
      this.port = Number(new URL(this.url).port);
      return;
    }
    throw new Error(`the daemon has ended:\n${this.log}`);
  }

  /** Ends it, and waits until it is gone. */
  async stop() {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }
}
