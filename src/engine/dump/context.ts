/** Builds the DumpContext that kinds get. */
import type { Notices } from '../../base/notice.ts';
import type { UndoStack } from '../../base/undo.ts';
import type { DumpContext, MemoryChanges, SeenTree } from '../../contract/contract.ts';
import { SlotStore } from '../../contract/slots.ts';
import { type Entry, writeEntries } from '../../images/image.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { type ImageKind, imageName } from '../../images/kind.ts';
import type { InputOf, Message } from '../../images/message.ts';
import type { Pages } from '../../memory/pages.ts';
import type { OpenFileTable } from './file-table.ts';

/** Images to which all tasks append. They are written at once at the end. */
export class SharedImages {
  readonly #entries = new Map<ImageKind<Message, unknown>, Entry<unknown, unknown>[]>();

  append<M extends Message, E>(image: ImageKind<M, E>, message: InputOf<M>, payload?: E): void {
    const kind = image as ImageKind<Message, unknown>;
    const list = this.#entries.get(kind) ?? [];
    list.push(payload === undefined ? { message } : { message, payload });
    this.#entries.set(kind, list);
  }

  write(images: ImageSetWriter): void {
    for (const [kind, entries] of this.#entries) {
      const name = imageName(kind);
      images.put(name, writeEntries(kind, entries as Entry<InputOf<Message>, unknown>[], name));
    }
  }
}

/** Makes the context of a dump. */
export function makeContext(
  tree: SeenTree,
  groupStopped: DumpContext['groupStopped'],
  images: ImageSetWriter,
  files: OpenFileTable,
  pages: Pages,
  shared: SharedImages,
  undo: UndoStack,
  notices: Notices,
  changes: MemoryChanges | undefined,
): DumpContext {
  return {
    slots: new SlotStore(),
    options: tree.options,
    tree,
    groupStopped,
    images,
    openFiles: files,
    pages,
    changes,
    newFileId: () => files.newId(),
    addFile: (entry) => void files.entries.push(entry),
    append: (image, message, payload) => shared.append(image, message, payload),
    notice: (facts) => notices.add(facts),
    undo: (work) => undo.add(work),
  };
}
