/**
 * Numbers of the kernel's interface that differ between architectures, on the machine we run on: another architecture's
 * tables are named here. What all architectures have in common is in kernel/constants.
 */
export * from './x86-64/numbers.ts';
