// JSON-RPC by messages to the host of an MCP App (specification of 2026-01-26). The SDK for this
// has 149 kB zipped; what is needed of it is this.

type Waiting = readonly [done: (value: unknown) => void, fail: (error: Error) => void];
type Params = Readonly<Record<string, unknown>>;

const PROTOCOL = "2026-01-26";

export interface ToolResult {
  readonly content?: readonly { type: string; text?: string; data?: string; mimeType?: string }[];
  readonly structuredContent?: Readonly<Record<string, unknown>>;
  readonly isError?: boolean;
}

export class Rpc {
  readonly #waiting = new Map<number, Waiting>();
  readonly #handlers = new Map<string, (params: Params) => void>();
  #last = 0;

  constructor() {
    addEventListener("message", (event: MessageEvent) => {
      if (event.source === parent) this.#take(event.data);
    });
  }

  on(method: string, handler: (params: Params) => void): void {
    this.#handlers.set(method, handler);
  }

  notify(method: string, params: Params = {}): void {
    parent.postMessage({ jsonrpc: "2.0", method, params }, "*");
  }

  request(method: string, params: Params = {}): Promise<unknown> {
    const id = (this.#last += 1);
    parent.postMessage({ jsonrpc: "2.0", id, method, params }, "*");
    return new Promise((done, fail) => this.#waiting.set(id, [done, fail]));
  }

  /** Call a tool of the server; an error of the tool is thrown as one sentence. */
  async tool(name: string, args: Params): Promise<ToolResult> {
    const result = (await this.request("tools/call", { name, arguments: args })) as ToolResult;
    if (result.isError === true) {
      throw new Error(result.content?.find((one) => one.type === "text")?.text ?? name);
    }
    return result;
  }

  async begin(): Promise<Params> {
    const reply = (await this.request("ui/initialize", {
      protocolVersion: PROTOCOL,
      appInfo: { name: "imagen", version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    })) as { hostContext?: Params };
    this.notify("ui/notifications/initialized");
    return reply.hostContext ?? {};
  }

  #take(message: { jsonrpc?: string; id?: number; method?: string; params?: Params;
    result?: unknown; error?: { message: string } } | null): void {
    if (message?.jsonrpc !== "2.0") return;
    if (message.method === undefined) this.#answer(message);
    else {
      // Each request of the host is answered: a ping, or that the view is taken down.
      if (message.id !== undefined) {
        parent.postMessage({ jsonrpc: "2.0", id: message.id, result: {} }, "*");
      }
      this.#handlers.get(message.method)?.(message.params ?? {});
    }
  }

  #answer(message: { id?: number; result?: unknown; error?: { message: string } }): void {
    const waiting = this.#waiting.get(message.id ?? -1);
    this.#waiting.delete(message.id ?? -1);
    if (message.error !== undefined) waiting?.[1](new Error(message.error.message));
    else waiting?.[0](message.result);
  }
}
