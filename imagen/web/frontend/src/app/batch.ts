// One batch as an MCP App follows it: each image is pulled once, by the tools that a model uses
// too. They change nothing, so the pulls of the model and ours do not meet.
import { Cell } from "../core/cell";
import type { Rpc, ToolResult } from "./rpc";

export interface Arrived {
  readonly index: number;
  readonly id: string;
  readonly width: number;
  readonly height: number;
  readonly model: string;
  readonly cost_usd: string | null;
  readonly source: string;
}

export interface Problem {
  readonly index: number | null;
  readonly message: string;
}

export interface Sheet {
  readonly prompt: string;
  readonly sessionId: string | null;
  readonly status: string;
  readonly requested: number;
  readonly images: readonly Arrived[];
  readonly problems: readonly Problem[];
  readonly sentence: string;
}

interface Reply {
  readonly session_id?: string;
  readonly status?: string;
  readonly requested_count?: number;
  readonly image?: (Omit<Arrived, "source"> & { index?: number }) | null;
  readonly errors?: readonly Problem[];
}

const PULL_SECONDS = 25;
const OVER = new Set(["completed", "failed", "cancelled", "expired", "partial"]);

export class Follower {
  readonly sheet = new Cell<Sheet>({
    prompt: "", sessionId: null, status: "created", requested: 0, images: [], problems: [],
    sentence: "",
  });
  #run = 0;

  constructor(readonly rpc: Rpc) {}

  get cost(): number {
    return this.sheet.value.images.reduce((sum, one) => sum + Number(one.cost_usd ?? 0), 0);
  }

  get isOver(): boolean {
    return OVER.has(this.sheet.value.status);
  }

  #change(change: Partial<Sheet>): void {
    this.sheet.value = { ...this.sheet.value, ...change };
  }

  begin(prompt: string, requested: number): void {
    this.#run += 1;
    this.#change({
      prompt, requested, sessionId: null, status: "generating", images: [], problems: [],
      sentence: "",
    });
  }

  say(sentence: string): void {
    this.#change({ sentence });
  }

  /** The result of a tool: of the host's call, or of ours. */
  async take(result: ToolResult): Promise<void> {
    this.#take(result);
    const { sessionId } = this.sheet.value;
    if (sessionId !== null && !this.isOver) await this.#pull(sessionId);
  }

  #take(result: ToolResult): void {
    const reply = (result.structuredContent ?? {}) as Reply;
    const block = result.content?.find((one) => one.type === "image");
    const { images, problems } = this.sheet.value;
    const known = new Set(images.map((one) => one.id));
    const image = reply.image;
    const arrived = image == null || known.has(image.id) ? [] : [{
      ...image, index: image.index ?? images.length,
      source: block?.data === undefined ? "" : `data:${block.mimeType};base64,${block.data}`,
    }];
    const all = [...images, ...arrived];
    this.#change({
      images: all,
      sessionId: reply.session_id ?? this.sheet.value.sessionId,
      status: reply.status ?? (image == null ? this.sheet.value.status : "completed"),
      requested: Math.max(reply.requested_count ?? 0, all.length, this.sheet.value.requested),
      problems: reply.errors ?? problems,
    });
  }

  async #pull(sessionId: string): Promise<void> {
    const run = this.#run;
    let isEnd = false;
    while (run === this.#run && !isEnd) {
      const last = this.sheet.value.images.at(-1)?.index;
      const result = await this.rpc.tool("get_next_image", {
        session_id: sessionId, timeout: PULL_SECONDS, ...(last === undefined ? {} : { after: last }),
      });
      const reply = result.structuredContent as Reply | undefined;
      this.#take(result);
      isEnd = reply?.image == null && this.isOver;
    }
  }

  async cancel(): Promise<void> {
    const { sessionId } = this.sheet.value;
    if (sessionId !== null) this.#take(await this.rpc.tool("cancel_batch", { session_id: sessionId }));
  }
}
