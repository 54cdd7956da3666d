/** The magic numbers that kinds of images share; the magic of each kind is in kinds.ts. */

/** First word of every image but inventory.img, since image version 2. */
export const COMMON_MAGIC = 0x54564319;

/** First word of files that serve the program rather than hold state: statistics, the inode-to-path cache. */
export const SERVICE_MAGIC = 0x55105940;

/** `inventory_entry.img_version` of images with a common magic. */
export const IMAGE_VERSION = 2;
