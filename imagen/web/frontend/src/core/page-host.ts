// The page of its own: fetch, and one stream of server-sent events.
import { ApiError, sizeFor, Unreachable, type Host, type ServerEvent } from "./host";
import { keepReply, keptReply } from "./kept-replies";
import { followShared, type NumberedEvent } from "./shared-events";

const API = "./api/1/";
const KINDS = [
  "hello", "reset", "batch", "place", "preview", "forgotten", "added", "changed", "trashed",
  "restored", "deleted", "collections", "prompts", "library", "alarm", "ending",
];
const RETRY_AFTER = 1500;

export class PageHost implements Host {
  async call(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    return this.#send(path, {
      method,
      ...(body === undefined ? {} : {
        body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
      }),
    });
  }

  async upload(file: Blob, name: string): Promise<unknown> {
    const path = `inputs?name=${encodeURIComponent(name)}`;
    return this.#send(path, { method: "POST", body: file });
  }

  async #send(path: string, init: RequestInit): Promise<unknown> {
    const url = new URL(API + path, document.baseURI).href;
    const text = await (init.method === "GET" ? askOrRecall(url, init) : ask(url, init));
    return text === "" ? {} : JSON.parse(text);
  }

  thumbnail(id: string, pixels: number): string {
    return `${API}images/${id}/thumbnail/${sizeFor(pixels)}`;
  }

  file(id: string, download = false): string {
    return `${API}images/${id}/file${download ? "?download" : ""}`;
  }

  link(path: string): string {
    return API + path;
  }

  events(
    after: string, listener: (event: ServerEvent) => void, connected: (is: boolean) => void,
  ): () => void {
    return followShared(openStream, after, listener, connected);
  }
}

async function ask(url: string, init: RequestInit): Promise<string> {
  let reply: Response;
  let text: string;
  try {
    reply = await fetch(url, init);
    text = await reply.text();
  } catch {
    throw new Unreachable();
  }
  if (reply.ok) return text;
  throw errorOf(reply.status, text);
}

/** Ask the server; where it does not answer, what it replied before. */
async function askOrRecall(url: string, init: RequestInit): Promise<string> {
  try {
    const text = await ask(url, init);
    keepReply(url, text);
    return text;
  } catch (error) {
    const kept = error instanceof Unreachable ? await keptReply(url).catch(() => undefined) : undefined;
    if (kept === undefined) throw error;
    return kept;
  }
}

function openStream(
  after: string, heard: (event: NumberedEvent) => void, connected: (is: boolean) => void,
): () => void {
  let source: EventSource;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = after;
  const open = (): void => {
    source = new EventSource(`${API}events?after=${encodeURIComponent(last)}`);
    source.onopen = () => connected(true);
    source.onerror = () => {
      connected(false);
      // A browser gives up for good when the port refuses; we do not.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, RETRY_AFTER);
    };
    for (const kind of KINDS) {
      source.addEventListener(kind, (event: MessageEvent<string>) => {
        last = event.lastEventId || last;
        const data = JSON.parse(event.data) as Record<string, unknown>;
        heard({ kind, data, id: event.lastEventId });
      });
    }
  };
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}

function errorOf(status: number, text: string): Error {
  try {
    const body = JSON.parse(text) as {
      code: string; sentence: string; details?: Record<string, unknown>; retryable?: boolean;
    };
    return new ApiError(body.code, body.sentence, body.details ?? {}, body.retryable ?? false);
  } catch {
    // A proxy in front of the server that does not answer.
    return status === 503 ? new Unreachable() : new ApiError("INTERNAL", `HTTP ${status}`);
  }
}
