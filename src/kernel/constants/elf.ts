/** ELF files (include/uapi/linux/elf.h), as far as they are read. */

/** Types of segments. */
export const PT = { DYNAMIC: 2, NOTE: 4 } as const;
/** Tags of the dynamic section. */
export const DT = { HASH: 4, STRTAB: 5, SYMTAB: 6 } as const;
/** Types of symbols. */
export const STT = { FUNC: 2 } as const;
/** The type of the note that holds the build ID. */
export const NT_GNU_BUILD_ID = 3;
