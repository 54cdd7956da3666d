/** The commands that rows of the table of options are about, spelled out once, so that a row stays a row. */

export const NONE = [] as const;
export const DUMP = ['dump'] as const;
export const DUMPS = ['dump', 'pre-dump'] as const;
export const MIGRATE = ['migrate'] as const;
/** Commands that make processes of images. */
export const RESTORING = ['restore', 'migrate'] as const;
export const RESTORE = ['restore'] as const;
export const BOTH = ['dump', 'restore'] as const;
export const CHECK = ['check'] as const;
/** A check of a task looks at it as a dump would. */
export const SAVING = ['dump', 'migrate', 'check'] as const;
export const CARRYING = ['dump', 'restore', 'migrate', 'check'] as const;
export const EXEC = ['exec'] as const;
/** Commands that send pages to a page server, or are one. */
export const PAGES = ['dump', 'pre-dump', 'page-server'] as const;
export const LAZY = ['lazy-pages'] as const;
/** Commands that speak with another machine. */
export const TLS = [...PAGES, ...LAZY, 'migrate', 'service'] as const;
export const PAGE_SERVER = ['page-server'] as const;
export const SERVICE = ['service'] as const;
export const CPUINFO = ['cpuinfo dump', 'cpuinfo check'] as const;
/** Commands of the store of snapshots, and those of them that work with a folder of images. */
export const STORE = ['store add', 'store get', 'store ls', 'store rm', 'store gc', 'store check'] as const;
export const STORE_FOLDER = ['store add', 'store get'] as const;
export const SERVERS = ['page-server', 'lazy-pages'] as const;
export const WORKING = [...CARRYING, 'pre-dump', ...SERVERS, 'dedup', 'service', ...CPUINFO] as const;
export const ALL = [...WORKING, ...STORE, 'exec'] as const;

/** Why an option may be given where it changes nothing. */
export const SAME_OPTIONS =
  'callers give the commands of one job the same options, and this one is a matter of another';
