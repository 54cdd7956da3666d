/** Semaphore arrays of an IPC namespace. */
import type { IdView } from '../../contract/contract.ts';
import type { Entry } from '../../images/image.ts';
import type { InputOf } from '../../images/message.ts';
import type { IpcSemEntry, ipcSemEntry } from '../../images/schema/namespaces.ts';
import { SEM_CTL } from '../../kernel/constants/ipc.ts';
import { readSystem } from '../../kernel/proc/read.ts';
import { parseSysvSem } from '../../kernel/proc/sysvipc.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { descriptionOf, makeObject, objectName, setOwner } from './objects.ts';

/** The arrays as images have them. Called inside the namespace. */
export function saveSemaphores(ids: IdView): Entry<InputOf<typeof ipcSemEntry>, Uint16Array>[] {
  return parseSysvSem(readSystem('/proc/sysvipc/sem')).map((array) => {
    const values = new Uint16Array(array.count);
    const got = trySyscall('semctl', array.id, 0, SEM_CTL.GETALL, values);
    if (got < 0) throw new SyscallError('semctl', -got, { resource: objectName('sem', array) });
    return { message: { desc: descriptionOf(array, ids), nsems: array.count }, payload: values };
  });
}

/** Makes an array again. Called inside the namespace. @throws StasisError */
export function makeSemaphores({ message, payload }: Entry<IpcSemEntry, Uint16Array>, ids: IdView): void {
  const { desc, nsems } = message;
  makeObject('sem', desc, ids, (flags) => trySyscall('semget', desc.key | 0, nsems, flags));
  setOwner('sem', desc, ids);
  const set = trySyscall('semctl', desc.id, 0, SEM_CTL.SETALL, payload ?? new Uint16Array(nsems));
  if (set < 0) throw new SyscallError('semctl', -set, { resource: objectName('sem', desc) });
}
