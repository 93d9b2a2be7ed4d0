// IndexedDB: drafts, masks, rows seen, and the outbox of what was done offline.
// A browser without storage keeps nothing; nothing here may fail for that.
import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { Change } from "./api";

interface Stored extends DBSchema {
  kept: { key: string; value: unknown };
  // An earlier version kept stars alone as `seen`.
  outbox: { key: number; value: Change & { at: number; seen?: unknown; before?: Seen } };
}

/** What a change may hide of an image, as it was shown before. */
export interface SeenImage {
  readonly stars?: number;
  readonly notes?: string;
}

export type Seen = Readonly<Record<string, SeenImage>>;

let opened: Promise<IDBPDatabase<Stored> | null> | null = null;

function open(): Promise<IDBPDatabase<Stored> | null> {
  opened ??= openDB<Stored>("imagen", 1, {
    upgrade(database) {
      database.createObjectStore("kept");
      database.createObjectStore("outbox", { autoIncrement: true });
    },
  }).catch(() => null);
  return opened;
}

export async function kept<T>(key: string): Promise<T | undefined> {
  return (await (await open())?.get("kept", key)) as T | undefined;
}

export async function keep(key: string, value: unknown): Promise<void> {
  await (await open())?.put("kept", value, key).catch(() => undefined);
}

export async function forget(key: string): Promise<void> {
  await (await open())?.delete("kept", key);
}

export async function addToOutbox(change: Change, seen: Seen): Promise<boolean> {
  const database = await open();
  if (database === null) return false;
  await database.add("outbox", { ...change, at: Date.now(), before: seen });
  return true;
}

/**
 * Hand each change of the outbox to `send`, the oldest first, and drop it when that returns, with
 * whether it was sent. The number of those is returned.
 */
export async function emptyOutbox(
  send: (change: Change, seen: Seen) => Promise<boolean>,
): Promise<number> {
  const database = await open();
  if (database === null) return 0;
  let sent = 0;
  for (const key of await database.getAllKeys("outbox")) {
    const value = await database.get("outbox", key);
    if (value === undefined) continue;
    const { at: _, seen: __, before = {}, ...change } = value;
    if (await send(change, before)) sent += 1;
    await database.delete("outbox", key);
  }
  return sent;
}
