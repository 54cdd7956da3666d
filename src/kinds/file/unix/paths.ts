/** Names of unix sockets as paths. Pure. */

/** The path of a socket's file, by its name and the directory a relative name is relative to. */
export function pathOf(name: string, directory: string | undefined): string {
  if (name.startsWith('/')) return name;
  return `${directory === '/' ? '' : (directory ?? '')}/${name}`;
}

/** How a name is bound below a staging directory, which stands for the root or the working directory. */
export interface StagedName {
  /** Directories to be made, those above first, relative to the staging directory. */
  readonly directories: readonly string[];
  /** The directory that stands for the working directory. */
  readonly from: string;
  /** Where the file appears, relative to the staging directory. */
  readonly file: string;
}

/**
 * How any name can be bound as it is written: an absolute one where the staging directory is the root, a relative one
 * from a directory so deep in it that every `..` stays below.
 */
export function stagedName(name: string): StagedName {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  const ups = name.startsWith('/') ? 0 : parts.filter((part) => part === '..').length;
  const at = Array.from({ length: ups }, () => 'd');
  const directories = at.map((_, i) => at.slice(0, i + 1).join('/'));
  const from = at.join('/');
  for (const part of parts.slice(0, -1)) {
    if (part === '..') at.pop();
    else {
      at.push(part);
      const path = at.join('/');
      if (!directories.includes(path)) directories.push(path);
    }
  }
  return { directories, from, file: [...at, parts.at(-1) ?? ''].join('/') };
}

/** The directory of a path, or the next one above it that exists. */
export function existingDirectory(path: string, exists: (path: string) => boolean): string {
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
    const directory = path.slice(0, end);
    if (exists(directory)) return directory;
  }
  return '/';
}
