/** From a request to an invocation: its options, the configuration files around it, where it works. */
import { type ConfigFile, configFiles, readConfigFile } from '../api/config.ts';
import type { Invocation } from '../api/invocation.ts';
import { judge } from '../api/refusals.ts';
import { type Command, defaultSettings } from '../api/settings.ts';
import { applyOption, type Draft, type Given, settle } from '../api/values.ts';
import { asStasisError, StasisError } from '../base/errors.ts';
import type { CriuOpts } from '../images/schema/rpc.ts';
import type { Rights } from './client-rights.ts';
import { directoryOf } from './directories.ts';
import { applyFields, IDLE, type Origin } from './fields.ts';

/** The log's name where nobody names it, CRIU's. */
const LOG = 'criu.log';

/** Who asks. */
export interface Client {
  readonly pid: number;
  readonly origin: Origin;
  readonly rights: Rights;
}

/** A request, understood. */
export interface Understood {
  readonly invocation: Invocation;
  /** Why it must not be done; known only now, but told when the log is open, where engines look for it. */
  readonly refusal: StasisError | undefined;
}

/**
 * Understands the options of a request, in CRIU's order, later ones winning: the default configuration files, the one
 * the environment names, the fields, the configuration file that a field names. That one may be missing.
 *
 * @throws StasisError (usage) if there is no place for the images or the log
 */
export function understand(command: Command, opts: CriuOpts, client: Client): Understood {
  const draft: Draft = defaultSettings();
  const errors: StasisError[] = [];
  const configured = apply(draft, configFiles({ env: process.env }), errors);
  const { asked, error } = applyFields(draft, opts, client.origin);
  if (error) errors.push(error);
  const { config_file: file } = opts;
  const last = file === undefined ? [] : apply(draft, [{ path: file, mustExist: false }], errors);
  findPlace(draft, opts, { command, client, isLast: (long) => last.some(({ option }) => option.long === long) });
  if (command === 'dump') draft.tree ??= client.pid;
  // Nobody waits for the tree: a restore ends when it is done, or becomes another program, as the tree's parent.
  draft.detached = !draft.execCmd;
  if (client.rights !== 'all') errors.push(...boundTo(client.rights, draft, command));
  const settings = settle(draft, process.env);
  const { refusal, notes } = judge([...configured, ...asked, ...last], command, settings);
  const invocation = { command, settings, operands: opts.exec_cmd, notes: [...notes, ...idleNotes(opts)] };
  return { invocation, refusal: errors[0] ?? refusal };
}

/** Applies the options of configuration files; what is wrong with them goes to `errors`. */
function apply(draft: Draft, files: readonly ConfigFile[], errors: StasisError[]): Given[] {
  try {
    const given = files.flatMap(readConfigFile);
    for (const one of given) applyOption(draft, one);
    return given;
  } catch (thrown) {
    errors.push(asStasisError(thrown));
    return [];
  }
}

/** What decides about places. */
interface Circumstances {
  readonly command: Command;
  readonly client: Client;
  /** Whether the last configuration file has an option: it wins over the fields. */
  readonly isLast: (long: string) => boolean;
}

/** Finds out where the images and the log are to be, and writes it into the draft. */
function findPlace(draft: Draft, opts: CriuOpts, { command, client, isLast }: Circumstances): void {
  const { images_dir_fd: images, images_dir: path, work_dir_fd: work } = opts;
  if (!isLast('images-dir')) {
    if (images >= 0) draft.imagesDir = directoryOf(client.pid, images, 'images_dir_fd');
    else if (path) draft.imagesDir = path;
    else if (command !== 'check') throw noPlace('neither images_dir_fd nor images_dir says where the images are');
    else if (work === undefined) throw noPlace('neither a directory of images nor work_dir_fd says where the log is');
  }
  if (!isLast('work-dir') && work !== undefined) draft.workDir = directoryOf(client.pid, work, 'work_dir_fd');
  draft.logFile = logName(draft.logFile, opts, isLast('log-file'));
}

function noPlace(reason: string): StasisError {
  return new StasisError({
    kind: 'usage',
    resource: 'criu_opts',
    reason,
    remedy: 'open a directory and send its number',
  });
}

/** The log's file; undefined for stderr. A field gives a name only, in the work directory, as with CRIU. */
function logName(before: string | undefined, opts: CriuOpts, isLast: boolean): string | undefined {
  if (isLast) return before;
  if (opts.log_file?.includes('/')) {
    const remedy = 'send a name alone; the log is made in the work directory (work_dir_fd)';
    throw new StasisError({
      kind: 'usage',
      resource: 'criu_opts.log_file',
      reason: 'it is no name but a path',
      remedy,
    });
  }
  if (opts.log_file) return opts.log_file;
  return opts.log_to_stderr ? undefined : (before ?? LOG);
}

/** Keeps a request within the rights of a client that is not root; returns what it must not ask for. */
function boundTo(rights: Rights, draft: Draft, command: Command): StasisError[] {
  draft.unprivileged = true;
  const errors: StasisError[] = [];
  if (draft.actionScript.length > 0) {
    // Scripts are started by the runtime, which has threads with the rights of the service.
    const remedy = 'ask to be notified instead (notify_scripts)';
    errors.push(notPermitted('action-script', 'the service runs no scripts for clients that are not root', remedy));
  }
  if (command === 'restore' && rights === 'dump') {
    const reason =
      'the service restores nothing for clients that have neither CAP_SYS_ADMIN nor CAP_CHECKPOINT_RESTORE';
    errors.push(notPermitted(undefined, reason, 'have root restore the images'));
  }
  return errors;
}

function notPermitted(resource: string | undefined, reason: string, remedy: string): StasisError {
  return new StasisError({ kind: 'permission', resource, reason, remedy });
}

function idleNotes(opts: CriuOpts): string[] {
  return Object.entries(IDLE)
    .filter(([field]) => opts[field as keyof CriuOpts] !== undefined)
    .map(([field, because]) => `${field} changes nothing here: ${because}`);
}
