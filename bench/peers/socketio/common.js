// What scripts with clients share.

/** How clients get to the nodes: by WebSocket alone, and back as soon as our client in the scenarios. */
export const WAYS = {
  transports: ["websocket"],
  forceNew: true,
  reconnectionDelay: 50,
  reconnectionDelayMax: 500,
  timeout: 5000,
};

/** A line for who started the script. */
export const say = (message) => console.log(JSON.stringify(message));

/** Whether it came to be so in time. */
export async function until(condition, withinMs) {
  const end = performance.now() + withinMs;
  while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  return condition();
}
