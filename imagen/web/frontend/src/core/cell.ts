// A value that elements watch: reading it while rendering is what subscribes them.
import type { ReactiveControllerHost } from "lit";

export class Cell<T> {
  #value: T;
  readonly #watchers = new Set<ReactiveControllerHost>();
  readonly #listeners = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set value(value: T) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.touch();
  }

  /** Tell all who watch that something inside the value has changed. */
  touch(): void {
    for (const watcher of this.#watchers) watcher.requestUpdate();
    for (const listener of this.#listeners) listener(this.#value);
  }

  readFor(watcher: ReactiveControllerHost): T {
    if (!this.#watchers.has(watcher)) {
      this.#watchers.add(watcher);
      watcher.addController({
        hostConnected: () => this.#watchers.add(watcher),
        hostDisconnected: () => this.#watchers.delete(watcher),
      });
    }
    return this.#value;
  }

  listen(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
