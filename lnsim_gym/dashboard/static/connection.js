// The connection to the bridge: it comes back by itself, and tells its listeners what arrives.

const LONGEST_WAIT_MS = 5000;
const KINDS = ["reset", "episode_end", "rebalance_suggestion", "activity", "controls"];

export class Connection extends EventTarget {
  #socket = null;
  #waitMs = 250;
  #opened = false;
  #token = readToken();

  open() {
    const url = new URL("/", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    if (this.#token) url.searchParams.set("token", this.#token);
    this.#tell("state", "connecting");
    this.#opened = false;
    const socket = (this.#socket = new WebSocket(url));
    socket.addEventListener("open", () => {
      this.#opened = true;
      this.#waitMs = 250;
      this.send({ type: "register", client: "lnsim dashboard" });
      this.send({ type: "subscribe", kinds: KINDS });
      this.#tell("state", "connected");
    });
    socket.addEventListener("message", (event) => {
      const message = JSON.parse(event.data);
      this.#tell(message.type, message);
    });
    socket.addEventListener("close", () => this.#lost());
  }

  /** Send a message; false while there is no connection. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Use another token from now on. */
  useToken(token) {
    this.#token = token;
    sessionStorage.setItem("token", token);
    this.#socket?.close();
    this.open();
  }

  /** Have a listener called with every message of a type. */
  on(type, listener) {
    this.addEventListener(type, (event) => listener(event.detail));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async #lost() {
    this.#tell("state", "lost");
    if (!this.#opened && (await asksForToken(this.#token))) {
      this.#tell("state", "token");
      return;
    }
    setTimeout(() => this.open(), this.#waitMs);
    this.#waitMs = Math.min(LONGEST_WAIT_MS, 1.6 * this.#waitMs);
  }
}

/** Whether the bridge turned the page away for want of a token. */
async function asksForToken(token) {
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    return (await fetch("/api/suggestions", { headers })).status === 401;
  } catch {
    return false;
  }
}

/** Take the token out of the address, where others could read it, and keep it for this tab. */
function readToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token") ?? new URLSearchParams(location.search).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}
