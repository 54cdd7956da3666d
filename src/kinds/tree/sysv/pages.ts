/**
 * The ID under which images keep the content of a segment. CRIU uses the ID of the segment, which may equal the inode
 * number of a memfd, whose content is in images of the same name. Inode numbers of memfds are never as large as this.
 */
export function pagesOf(id: number): number {
  return 2 ** 40 + id;
}
