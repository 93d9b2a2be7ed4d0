// Base of our elements. They render into the page itself: one stylesheet, and
// labels, focus and selection work across elements.
import { LitElement } from "lit";
import { language, type Messages } from "../messages/messages";
import type { Cell } from "./cell";

export class Part extends LitElement {
  #stops: (() => void)[] = [];

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  protected get t(): Messages {
    return language.readFor(this);
  }

  protected read<T>(cell: Cell<T>): T {
    return cell.readFor(this);
  }

  /** Listen until the element leaves the page. */
  protected on(
    target: EventTarget, name: string, handler: (event: never) => void,
    options?: AddEventListenerOptions,
  ): void {
    target.addEventListener(name, handler as EventListener, options);
    this.#stops.push(() => target.removeEventListener(name, handler as EventListener, options));
  }

  protected untilGone(stop: () => void): void {
    this.#stops.push(stop);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const stop of this.#stops.splice(0)) stop();
  }
}
