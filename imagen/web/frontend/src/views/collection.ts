// The collection that is shown: rename it, or delete it.
import { html, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import { icon, type IconName } from "../core/icons";
import { Part } from "../core/part";
import { session } from "../core/session";
import { askForWord, askIfSure } from "./ask";

@customElement("imagen-collection")
export class CollectionActions extends Part {
  @property() name = "";

  protected override render(): TemplateResult {
    return html`
      ${this.#action("edit", this.t.renameCollection(this.name), () => void this.#rename())}
      ${this.#action("trash", this.t.deleteCollection(this.name), () => void this.#delete())}`;
  }

  #action(symbol: IconName, text: string, act: () => void): TemplateResult {
    return html`<button class="button quiet small icon-only" aria-label=${text} title=${text}
      @click=${act}>${icon(symbol)}</button>`;
  }

  async #rename(): Promise<void> {
    const { name } = this;
    const old = name.slice(name.lastIndexOf("/") + 1);
    const wanted = await askForWord(this.t.renameCollection(name), [], old);
    if (wanted === "" || wanted === old) return;
    const made = await session.attempt(() => session.api.renameCollection(name, wanted));
    if (made !== undefined) this.#moved(made.name);
  }

  async #delete(): Promise<void> {
    const { name } = this;
    const t = this.t;
    const isSure = await askIfSure(t.deleteCollectionTitle(name), t.deleteCollectionHint, t.deleteIt);
    if (!isSure) return;
    // First away from it: the images of a collection that is gone cannot be asked for.
    this.#moved("");
    await session.attempt(() => session.api.deleteCollection(name), t.collectionDeleted(name));
  }

  #moved(name: string): void {
    this.dispatchEvent(new CustomEvent("moved", { detail: name }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-collection": CollectionActions;
  }
}
