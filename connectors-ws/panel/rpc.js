// JSON-RPC over the daemon's WebSocket, which is opened again whenever it is lost.

const SLOWEST_RETRY = 10_000;

/** An error that the daemon answered with. */
export class RpcError extends Error {
  constructor({ code, message, data }) {
    super(message);
    this.code = code;
    this.data = data ?? {};
  }

  /** The message, with what the user can do about it and what the server said. */
  explain() {
    const upstream = this.data.upstream ? ` The server says: ${this.data.upstream.message}` : "";
    const remedy = this.data.remedy ? ` What you can do: ${this.data.remedy}.` : "";
    // Whose parameters they are is nothing to the user.
    return `${this.message.replace(/^invalid params: /, "")}.${upstream}${remedy}`;
  }
}

export class Rpc {
  #socket = null;
  #pending = new Map();
  #lastId = 0;
  #delay = 500;
  #onState;
  #onEvent;

  /** `onState("up" | "down", text)` and `onEvent(params)` are called as things happen. */
  constructor(onState, onEvent) {
    this.#onState = onState;
    this.#onEvent = onEvent;
    this.#connect();
  }

  /** Calls a method. Rejects with an `RpcError`. */
  call(method, params = {}) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new RpcError({ code: 0, message: "The daemon is not connected" }));
    }
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    });
  }

  async #connect() {
    let token;
    try {
      const response = await fetch("/panel/token", { cache: "no-store" });
      if (!response.ok) throw new Error(`status ${response.status}`);
      ({ token } = await response.json());
    } catch {
      this.#retry("The daemon does not answer");
      return;
    }
    const socket = new WebSocket(`ws://${location.host}/`);
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(data)));
    socket.addEventListener("close", () => this.#lost());
    socket.addEventListener("open", async () => {
      try {
        await this.call("session.auth", { token: token ?? "" });
        await this.call("server.handshake", { protocol_version: 2 });
        await this.call("connectors.subscribe");
        this.#delay = 500;
        this.#onState("up", "connected");
      } catch (error) {
        this.#onState("down", error.message);
        socket.close();
      }
    });
  }

  #receive(message) {
    if (message.method === "connectors.event") {
      this.#onEvent(message.params);
      return;
    }
    const waiting = this.#pending.get(message.id);
    if (!waiting) return;
    this.#pending.delete(message.id);
    if (message.error) waiting.reject(new RpcError(message.error));
    else waiting.resolve(message.result);
  }

  #lost() {
    this.#socket = null;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(new RpcError({ code: 0, message: "The connection to the daemon was lost" }));
    this.#retry("The connection to the daemon was lost");
  }

  #retry(reason) {
    this.#onState("down", `${reason}; trying again`);
    setTimeout(() => this.#connect(), this.#delay);
    this.#delay = Math.min(this.#delay * 2, SLOWEST_RETRY);
  }
}

/** What to show of any error. */
export function explain(error) {
  return error instanceof RpcError ? error.explain() : String(error?.message ?? error);
}
