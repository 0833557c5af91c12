// Asks aiosd from Node: npm ci; node client.mjs "What is it?" [expert]
// The wire is written down in ../protocol.md.
import { Dealer } from "zeromq";
import { decode, encode } from "@msgpack/msgpack";

export class AiosdError extends Error {
  constructor({ code, message, details }) {
    super(`${code}: ${message}`);
    Object.assign(this, { code, details });
  }
}

export class Client {
  #socket;
  #number = 0;
  constructor(folder = process.env.AIOSD_SOCKET_DIR || "/run/aiosd", { connectMs = 2000, silenceMs = 120_000 } = {}) {
    // immediate: nothing queues for a daemon that is not there, so a send can fail in time.
    this.#socket = new Dealer({ immediate: true, linger: 500, sendTimeout: connectMs, receiveTimeout: silenceMs });
    this.#socket.connect(`ipc://${folder}/api.sock`);
  }

  // Yields every answer to one message; one request at a time. Leaving early cancels it.
  async *ask(verb, attachments = []) {
    const id = String(++this.#number);
    let open = true;
    await this.#send([id, encode({ v: 1, ...verb }), ...attachments]);
    try {
      while (open) {
        const [to, header] = await this.#socket.receive();
        if (to.toString() !== id) continue; // a late answer to a request that was left
        const answer = decode(header);
        open = answer.t === "chunk";
        if (answer.t === "error") throw new AiosdError(answer);
        yield answer;
      }
    } finally {
      if (open) await this.#send([id, encode({ v: 1, t: "cancel" })]);
    }
  }

  async #send(frames) {
    await this.#socket.send(frames).catch((cause) => {
      throw new AiosdError({ code: "unreachable", message: `no aiosd answers (${cause.message}); systemctl status aiosd` });
    });
  }
  close() {
    this.#socket.close();
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [text = "hello", expert = null] = process.argv.slice(2);
  const client = new Client();
  for await (const answer of client.ask({ t: "run", expert, input: { type: "text", text }, options: { stream: true } })) {
    console.log(answer.t === "chunk" ? answer.text : JSON.stringify(answer.outcome.output));
  }
  client.close();
}
