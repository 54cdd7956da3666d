/** The limits and other settings of an IPC namespace (`/proc/sys/kernel`, `/proc/sys/fs/mqueue`). */
import { logWarn } from '../../base/log.ts';
import { decodeText } from '../../base/text.ts';
import type { IdView } from '../../contract/contract.ts';
import type { InputOf } from '../../images/message.ts';
import type { IpcVarEntry, ipcVarEntry } from '../../images/schema/namespaces.ts';
import { actAs } from '../../kernel/act-as.ts';
import { O } from '../../kernel/constants/files.ts';
import { tryOpen, tryRead, trySet } from '../../kernel/files.ts';
import { describeErrno, ERRNO, Fd } from '../../kernel/syscall.ts';

/** The fields of the image, and the files below `/proc/sys` that they stand for. */
const FILES = {
  sem_ctls: 'kernel/sem',
  msg_ctlmax: 'kernel/msgmax',
  msg_ctlmnb: 'kernel/msgmnb',
  msg_ctlmni: 'kernel/msgmni',
  auto_msgmni: 'kernel/auto_msgmni',
  shm_ctlmax: 'kernel/shmmax',
  shm_ctlall: 'kernel/shmall',
  shm_ctlmni: 'kernel/shmmni',
  shm_rmid_forced: 'kernel/shm_rmid_forced',
  mq_queues_max: 'fs/mqueue/queues_max',
  mq_msg_max: 'fs/mqueue/msg_max',
  mq_msgsize_max: 'fs/mqueue/msgsize_max',
  mq_msg_default: 'fs/mqueue/msg_default',
  mq_msgsize_default: 'fs/mqueue/msgsize_default',
  msg_next_id: 'kernel/msg_next_id',
  sem_next_id: 'kernel/sem_next_id',
  shm_next_id: 'kernel/shm_next_id',
} as const satisfies Record<keyof IpcVarEntry, string>;

type Field = keyof typeof FILES;
const FIELDS = Object.keys(FILES) as Field[];

/** The limits that an object must be within when it is made. They may have been lowered afterwards. */
const LIMITS: readonly Field[] = [
  ...(['sem_ctls', 'msg_ctlmax', 'msg_ctlmnb', 'msg_ctlmni'] as const),
  ...(['shm_ctlmax', 'shm_ctlall', 'shm_ctlmni'] as const),
  ...(['mq_queues_max', 'mq_msg_max', 'mq_msgsize_max'] as const),
];

/** The numbers in a file; undefined if the kernel has no such file. */
function numbersIn(field: Field): bigint[] | undefined {
  const opened = tryOpen(`/proc/sys/${FILES[field]}`, O.RDONLY);
  if (opened < 0) return undefined;
  using fd = new Fd(opened);
  const bytes = new Uint8Array(256);
  const length = Math.max(0, tryRead(fd.number, bytes));
  return decodeText(bytes.subarray(0, length)).trim().split(/\s+/).map(BigInt);
}

/** The settings of the IPC namespace that Stasis is in. */
export function readVariables(): InputOf<typeof ipcVarEntry> {
  const found = new Map(FIELDS.map((field) => [field, numbersIn(field)]));
  const big = (field: Field): bigint => found.get(field)?.[0] ?? 0n;
  const number = (field: Field): number => Number(big(field));
  // The file has -1 if no ID was asked for, and takes no such number.
  const ifAny = (field: Field): number | undefined =>
    big(field) < 0n || !found.get(field) ? undefined : number(field);
  return {
    sem_ctls: (found.get('sem_ctls') ?? []).map(Number),
    msg_ctlmax: number('msg_ctlmax'),
    msg_ctlmnb: number('msg_ctlmnb'),
    msg_ctlmni: number('msg_ctlmni'),
    auto_msgmni: number('auto_msgmni'),
    shm_ctlmax: big('shm_ctlmax'),
    shm_ctlall: big('shm_ctlall'),
    shm_ctlmni: number('shm_ctlmni'),
    shm_rmid_forced: number('shm_rmid_forced'),
    mq_queues_max: number('mq_queues_max'),
    mq_msg_max: number('mq_msg_max'),
    mq_msgsize_max: number('mq_msgsize_max'),
    mq_msg_default: ifAny('mq_msg_default'),
    mq_msgsize_default: ifAny('mq_msgsize_default'),
    msg_next_id: ifAny('msg_next_id'),
    sem_next_id: ifAny('sem_next_id'),
    shm_next_id: ifAny('shm_next_id'),
  };
}

/** Raises limits to the saved ones, so that all objects can be made: none is lower than before. */
export function widenLimits(saved: IpcVarEntry, owner: IdView | undefined): void {
  for (const field of LIMITS) {
    const current = numbersIn(field);
    if (!current) continue;
    const wanted = savedNumbers(saved, field);
    setNumbers(
      field,
      current.map((value, i) => ((wanted[i] ?? 0n) > value ? (wanted[i] ?? 0n) : value)),
      current,
      owner,
    );
  }
}

/** Sets everything as it was saved. */
export function restoreVariables(saved: IpcVarEntry, owner: IdView | undefined): void {
  for (const field of FIELDS) {
    const wanted = savedNumbers(saved, field);
    const current = numbersIn(field);
    if (current && wanted.length === current.length) setNumbers(field, wanted, current, owner);
  }
}

function savedNumbers(saved: IpcVarEntry, field: Field): bigint[] {
  const value = saved[field];
  if (value === undefined) return [];
  return Array.isArray(value) ? value.map(BigInt) : [BigInt(value as number | bigint)];
}

function setNumbers(
  field: Field,
  wanted: readonly bigint[],
  current: readonly bigint[],
  owner: IdView | undefined,
): void {
  if (wanted.every((value, i) => value === current[i])) return;
  const set = (): number => trySet(`/proc/sys/${FILES[field]}`, wanted.join(' '));
  let result = set();
  // Since 6.1 only the root of the user namespace that owns the namespace may write (ipc_permissions()).
  if (result === -ERRNO.EACCES && owner) result = actAs(owner.uidHere(0), owner.gidHere(0), set);
  // Some are there for old programs only, and some have other bounds on another kernel.
  if (result < 0) logWarn('ipc', `${FILES[field]} stays ${current.join(' ')}: ${describeErrno(result)}`);
}
