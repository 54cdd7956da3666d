/**
 * The number under which images keep the content of a segment. CRIU takes the segment's ID, which may as well be the
 * inode number of some memfd: both have their content in images of one name. No inode number of those is as large as
 * this.
 */
export function pagesOf(id: number): number {
  return 2 ** 40 + id;
}
