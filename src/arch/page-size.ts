/**
 * Bytes of a page: what this program is built for. arm64 and ppc64 also have kernels with pages of 16 and 64 KiB;
 * kernel/page-size.ts refuses what is not built for.
 */
export const PAGE_SIZE = 4096;
