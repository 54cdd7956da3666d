/**
 * Device numbers. User space (`st_dev`, `st_rdev`, TIOCGDEV, `tty_nr` of /proc/PID/stat) has the form of
 * `new_encode_dev()`: minor bits 0–7, major in 8–19, the rest of the minor above (include/linux/kdev_t.h). The kernel
 * itself, fdinfo (`sdev:`) and Stasis use `major << 20 | minor`.
 */

/** The major number of a device number in user space's form. */
export function major(dev: number): number {
  return (dev >>> 8) & 0xfff;
}

/** The minor number of a device number in user space's form. */
export function minor(dev: number): number {
  return (dev & 0xff) | ((dev >>> 12) & 0xfff00);
}

/** From user space's form to the kernel's. */
export function kernelDev(dev: number): number {
  return ((major(dev) << 20) | minor(dev)) >>> 0;
}

/** From the kernel's form to user space's. */
export function userDev(dev: number): number {
  return ((dev & 0xff) | ((dev >>> 20) << 8) | ((dev & 0xfff00) << 12)) >>> 0;
}
