// Who listens: `node clients.js URL COUNT SESSION …`, the clients dealt out to the sessions. Prints when all have joined,
// and when all have heard something; the line `{"last": {session: number}, "within_ms": N}` waits until all have that
// number, and prints what each has seen.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { WAYS, say, until } from "./common.js";

const [url, count, ...sessions] = process.argv.slice(2);

class Listener {
  constructor(session) {
    this.session = session;
    this.seen = [];
    this.joined = false;
    this.recovered = 0; // reconnections after which Socket.IO says that it gave the rest
    this.anew = []; // how many had come when it said of a reconnection that it did not
    this.longestWaitMs = 0;
    this.socket = io(url, { auth: { session }, ...WAYS });
    this.socket.on("connect", () => this.connected());
    this.socket.on("token", (number) => this.take(number));
  }

  connected() {
    if (this.socket.recovered) this.recovered += 1;
    else if (this.joined) this.anew.push(this.seen.length);
    else
      this.socket.emit("ask", () => {
        this.joined = true;
      });
  }

  take(number) {
    const now = performance.now();
    if (this.seen.length) this.longestWaitMs = Math.max(this.longestWaitMs, now - this.last);
    this.last = now;
    this.seen.push(number);
  }

  get report() {
    const { session, seen, recovered, anew, longestWaitMs } = this;
    return { session, seen, recovered, anew, longest_wait_ms: longestWaitMs };
  }
}

const listeners = Array.from({ length: Number(count) }, (_, i) => new Listener(sessions[i % sessions.length]));

createInterface({ input: process.stdin }).on("line", async (line) => {
  const { last, within_ms } = JSON.parse(line);
  await until(() => listeners.every(({ seen, session }) => seen.at(-1) === last[session]), within_ms);
  say({ listeners: listeners.map((listener) => listener.report) });
});

if (await until(() => listeners.every(({ joined }) => joined), 30_000)) say({ joined: true });
if (await until(() => listeners.every(({ seen }) => seen.length), 30_000)) say({ heard: true });
