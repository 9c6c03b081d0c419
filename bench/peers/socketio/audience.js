// Who emits to a session, and who takes at once what comes: `node audience.js REDIS_URL URL COUNT BYTES SESSION`. Prints
// when all have joined. The line `{"write": N}` emits so many events together and prints how many there are when all have
// them; `{"for_ms": N, "rate": N}` emits so many a second and prints how long each took to each; `{"report": true}` prints
// what each has seen.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { adapter } from "./adapter.js";
import { WAYS, say, until } from "./common.js";

const SETTLED_MS = 20_000;
const [redisUrl, url, count, bytes, session] = process.argv.slice(2);
const padding = "x".repeat(Number(bytes));
const server = new Server({ adapter: (await adapter(redisUrl)).adapter, connectionStateRecovery: {} });
const written = []; // when, by number

class Fast {
  constructor() {
    this.seen = [];
    this.tookMs = [];
    this.joined = false;
    this.socket = io(url, { auth: { session }, ...WAYS });
    this.socket.once("connect", () =>
      this.socket.emit("ask", () => {
        this.joined = true;
      }),
    );
    this.socket.on("token", (number) => {
      this.seen.push(number);
      this.tookMs.push(performance.now() - written[number]);
    });
  }
}

const clients = Array.from({ length: Number(count) }, () => new Fast());

function emit() {
  written.push(performance.now());
  server.to(session).emit("token", written.length - 1, padding);
}

const caughtUp = () => until(() => clients.every(({ seen }) => seen.length >= written.length), SETTLED_MS);

createInterface({ input: process.stdin }).on("line", async (line) => {
  const asked = JSON.parse(line);
  if (asked.write) {
    for (let i = 0; i < asked.write; i++) emit();
    await caughtUp();
    say({ written: written.length });
  } else if (asked.for_ms) {
    const before = written.length;
    for (let i = 0; i < Math.floor((asked.for_ms / 1000) * asked.rate); i++) {
      emit();
      await sleep(1000 / asked.rate);
    }
    await caughtUp();
    say({ took_ms: clients.flatMap(({ tookMs }) => tookMs.slice(before)) });
  } else say({ seen: clients.map(({ seen }) => seen) });
});

if (await until(() => clients.every(({ joined }) => joined), 30_000)) say({ ready: true });
