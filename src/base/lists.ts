/** Maps of lists. */

/** Appends a value to the list a map holds under a key, and makes the list if there is none. */
export function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
