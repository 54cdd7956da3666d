/** Requests of ioctl(2), put together as the C macros do it (include/uapi/asm-generic/ioctl.h). */
import { IOC } from '../../arch/numbers.ts';

function request(direction: number, type: string | number, number: number, size: number): number {
  const letter = typeof type === 'string' ? type.charCodeAt(0) : type;
  return ((direction << IOC.DIRSHIFT) | (size << 16) | (letter << 8) | number) >>> 0;
}

/** `_IO()`: a request without data. `type` is the driver's letter or number. */
export function io(type: string | number, number: number): number {
  return request(IOC.NONE, type, number, 0);
}

/** `_IOR()`: a request that writes `size` bytes to the program. */
export function ior(type: string | number, number: number, size: number): number {
  return request(IOC.READ, type, number, size);
}

/** `_IOW()`: a request that reads `size` bytes from the program. */
export function iow(type: string | number, number: number, size: number): number {
  return request(IOC.WRITE, type, number, size);
}

/** `_IOWR()`: a request that does both. */
export function iowr(type: string | number, number: number, size: number): number {
  return request(IOC.READ | IOC.WRITE, type, number, size);
}
