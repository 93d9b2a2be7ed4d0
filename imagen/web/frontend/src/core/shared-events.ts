// One event stream for all tabs: a browser has six connections to a server, and each tab with a
// stream of its own would take one. The tab that holds the lock reads; if it goes, another one has
// the lock, and reads on from what it saw last. A repeated event does no harm.
import type { ServerEvent } from "./host";

export interface NumberedEvent extends ServerEvent {
  readonly id: string;
}

type Heard = (event: NumberedEvent) => void;
type Connected = (is: boolean) => void;
type Open = (after: string, heard: Heard, connected: Connected) => () => void;
type Message =
  | { readonly event: NumberedEvent }
  | { readonly connected: boolean }
  | { readonly missing: string };

const NAME = `imagen-events ${globalThis.location?.pathname ?? ""}`;
const MOST_KEPT = 1000;

export function followShared(open: Open, after: string, heard: Heard, connected: Connected): () => void {
  let last = after;
  const hear = (event: NumberedEvent): void => {
    last = event.id || last;
    heard(event);
  };
  if (!("locks" in navigator)) return open(after, hear, connected);
  const channel = new BroadcastChannel(NAME);
  const end = new AbortController();
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if ("event" in data) hear(data.event);
    else if ("connected" in data) connected(data.connected);
  };
  // What came between the state that this tab has read and now.
  channel.postMessage({ missing: after });
  void navigator.locks.request(NAME, { signal: end.signal }, () => new Promise<void>((done) => {
    const stop = lead(channel, open, last, hear, connected);
    end.signal.addEventListener("abort", () => {
      stop();
      done();
    });
  })).catch(() => undefined);
  return () => {
    end.abort();
    channel.close();
  };
}

/** Read the stream, and tell the other tabs. */
function lead(
  channel: BroadcastChannel, open: Open, after: string, heard: Heard, connected: Connected,
): () => void {
  const kept: NumberedEvent[] = [];
  let isConnected = true;
  const tell = (message: Message): void => channel.postMessage(message);
  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if (!("missing" in data)) return;
    tell({ connected: isConnected });
    for (const event of since(kept, data.missing)) tell({ event });
  };
  return open(after, (event) => {
    if (event.id !== "") kept.push(event);
    if (kept.length > MOST_KEPT) kept.shift();
    tell({ event });
    heard(event);
  }, (is) => {
    isConnected = is;
    tell({ connected: is });
    connected(is);
  });
}

/** The events after one; all that are kept if that is of another run, or too old. */
function since(kept: readonly NumberedEvent[], id: string): readonly NumberedEvent[] {
  const number = Number(id.split("-")[1] ?? 0);
  const run = id.split("-")[0];
  return kept.filter((event) =>
    event.id.split("-")[0] !== run || Number(event.id.split("-")[1]) > number);
}
