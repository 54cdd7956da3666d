/**
 * Stasis as a package: what a program may use. Linux on x86-64, under Node from 20.16 on or under Bun, as root.
 *
 *     import { check, dump, preDump, restore, inspect } from 'stasis';
 *
 * All functions are synchronous and work in the calling process.
 */

export * from './api/public.ts';
