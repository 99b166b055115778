/** More networks than that are counted and not named. */
const NAMED = 3;

/** `192.0.2.0/24 comes, 198.51.100.0/24 goes`, `17 come, 1 goes; 20 in all`; undefined where nothing does. */
export function sayListChange(before: readonly string[], after: readonly string[]): string | undefined {
  const [old, now] = [new Set(before), new Set(after)];
  const added = after.filter((one) => !old.has(one));
  const removed = before.filter((one) => !now.has(one));
  const count = added.length + removed.length;
  if (count === 0) return undefined;
  const say = (list: readonly string[], one: string, many: string) =>
    count > NAMED || list.length === 0
      ? sayCount(list.length, one, many)
      : `${list.join(", ")} ${list.length === 1 ? one : many}`;
  const parts = [say(added, "comes", "come"), say(removed, "goes", "go")].filter((part) => part !== "");
  return `${parts.join(", ")}; ${after.length} in all`;
}

/** `1 comes`, `17 come`; empty for none. */
export function sayCount(count: number, one: string, many: string): string {
  return count === 0 ? "" : `${count} ${count === 1 ? one : many}`;
}

/** `192.0.2.0/24, 198.51.100.0/24`, `17 networks`. */
export function sayNetworks(networks: readonly string[]): string {
  return networks.length > NAMED ? `${networks.length} networks` : networks.join(", ");
}
