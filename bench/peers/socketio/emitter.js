// Who emits, and is never killed: `node emitter.js REDIS_URL RATE SESSION …`. The line `start` begins, `stop` ends it and
// prints how many numbers each session was sent.
import { createInterface } from "node:readline";
import { Server } from "socket.io";
import { adapter } from "./adapter.js";

const TICK_MS = 20; // as our sources
const [redisUrl, rate, ...sessions] = process.argv.slice(2);
const io = new Server({ adapter: (await adapter(redisUrl)).adapter, connectionStateRecovery: {} });
let emitted = 0;
let timer;

function start() {
  const began = performance.now();
  timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1000) * Number(rate));
    for (; emitted < due; emitted++) {
      for (const session of sessions) io.to(session).emit("token", emitted);
    }
  }, TICK_MS);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "start") start();
  if (line === "stop") {
    clearInterval(timer);
    console.log(JSON.stringify({ emitted: Object.fromEntries(sessions.map((session) => [session, emitted])) }));
  }
});
console.log(JSON.stringify({ ready: true }));
