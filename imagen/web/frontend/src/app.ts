// Entry of the MCP App: one batch as a live sheet within a chat. No storage, no network; images
// come as `data:` links through the host.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { Follower, type Arrived } from "./app/batch";
import { Rpc, type ToolResult } from "./app/rpc";
import { icon, type IconName } from "./core/icons";
import { Part } from "./core/part";

const rpc = new Rpc();
const follower = new Follower(rpc);

@customElement("imagen-sheet")
export class SheetApp extends Part {
  @state() private open: Arrived | null = null;
  @state() private large = "";

  override connectedCallback(): void {
    super.connectedCallback();
    rpc.on("ui/notifications/tool-input", (params) => {
      const args = (params["arguments"] ?? {}) as { prompt?: string; count?: number };
      follower.begin(args.prompt ?? "", args.count ?? 1);
    });
    rpc.on("ui/notifications/tool-result", (params) => void this.#attempt(() =>
      follower.take(params as unknown as ToolResult)));
    rpc.on("ui/notifications/host-context-changed", (params) => this.#dress(params));
    const resize = new ResizeObserver(() => rpc.notify("ui/notifications/size-changed", {
      width: document.documentElement.scrollWidth, height: Math.ceil(this.getBoundingClientRect().height),
    }));
    resize.observe(this);
    this.untilGone(() => resize.disconnect());
    void rpc.begin().then((context) => this.#dress(context));
  }

  /** Colours and letters of the host, where it names them. */
  #dress(context: Readonly<Record<string, unknown>>): void {
    if (context["theme"] === "light" || context["theme"] === "dark") {
      document.documentElement.dataset["theme"] = context["theme"];
    }
    const styles = context["styles"] as { variables?: Record<string, string> } | undefined;
    for (const [name, value] of Object.entries(styles?.variables ?? {})) {
      document.documentElement.style.setProperty(name, value);
    }
  }

  async #attempt(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      follower.say(error instanceof Error ? error.message : String(error));
    }
  }

  protected override render(): TemplateResult {
    const sheet = this.read(follower.sheet);
    const waiting = follower.isOver ? 0
      : Math.max(0, sheet.requested - sheet.images.length - sheet.problems.length);
    return html`
      <article class="app">
        <header>
          <div class="batch-words"><p class="batch-prompt">${sheet.prompt || this.t.withoutPrompt}</p>
            <p class="hint number" role="status">${this.#counts()}</p></div>
          ${sheet.sessionId !== null && !follower.isOver ? html`
            <button class="button small" @click=${() => void this.#attempt(() => follower.cancel())}
              >${icon("stop")}${this.t.cancelAll}</button>` : nothing}
        </header>
        ${sheet.sentence === "" ? nothing : html`<p class="note bad" role="alert">${icon("warning")}
          <span>${sheet.sentence}</span></p>`}
        <ol class="app-grid">
          ${sheet.images.map((one) => html`<li class="place" data-state="done">
            <button aria-label=${this.t.placeName(one.index + 1)} @click=${() => void this.#show(one)}>
              ${one.source === "" ? html`<span class="place-text">${one.id.slice(0, 8)}</span>`
                : html`<img src=${one.source} alt=${sheet.prompt || this.t.theImage}>`}</button></li>`)}
          ${Array.from({ length: waiting }, () => html`<li class="place" data-state="sent"></li>`)}
          ${sheet.problems.map((one) => html`<li class="place" data-state="failed">
            <p class="place-sentence">${one.message}</p></li>`)}
        </ol>
        ${this.open === null ? nothing : this.#viewer(this.open)}
      </article>`;
  }

  #counts(): string {
    const sheet = follower.sheet.value;
    const model = sheet.images[0]?.model;
    return [
      ...(model === undefined ? [] : [model]),
      this.t.doneOf(sheet.images.length + sheet.problems.length, sheet.requested),
      this.t.soFar(String(follower.cost)),
      ...(sheet.problems.length > 0 ? [this.t.failedCount(sheet.problems.length)] : []),
    ].join(" · ");
  }

  #viewer(one: Arrived): TemplateResult {
    return html`
      <section class="app-viewer" aria-label=${this.t.theImage}>
        <img src=${this.large || one.source} alt=${follower.sheet.value.prompt || this.t.theImage}>
        <div class="app-actions">
          ${this.#action("vary", this.t.vary, () => this.#more("create_variations", one, { count: 4 }))}
          ${this.#action("enhance", this.t.enhance, () => this.#more("enhance_image", one, {}))}
          ${this.#action("edit", this.t.edit, () => this.#tellModel(one))}
          ${this.#action("close", this.t.close, async () => { this.open = null; })}
        </div>
      </section>`;
  }

  #action(name: IconName, text: string, act: () => Promise<unknown>): TemplateResult {
    return html`<button class="button small" @click=${() => void this.#attempt(act)}
      >${icon(name)}${text}</button>`;
  }

  /** Open it full size: the whole image is asked for only now. */
  async #show(one: Arrived): Promise<void> {
    this.open = one;
    this.large = "";
    await this.#attempt(async () => {
      const result = await rpc.tool("show_image", { image_id: one.id, full: true });
      const block = result.content?.find((part) => part.type === "image");
      if (block?.data !== undefined && this.open === one) {
        this.large = `data:${block.mimeType};base64,${block.data}`;
      }
    });
  }

  async #more(tool: string, one: Arrived, args: Record<string, unknown>): Promise<void> {
    this.open = null;
    follower.begin(follower.sheet.value.prompt, Number(args["count"] ?? 1));
    await follower.take(await rpc.tool(tool, { image: one.id, ...args }));
  }

  /** An edit needs words: the chat has the place for them. */
  async #tellModel(one: Arrived): Promise<void> {
    await rpc.request("ui/update-model-context", {
      content: [{ type: "text", text: `The user looks at image ${one.id} and wants to edit it.` }],
    });
    follower.say(this.t.sayTheEdit);
  }
}
