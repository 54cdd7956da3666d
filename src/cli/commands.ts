/** The commands in words: for the help texts, the manual page and the shell completions. */

import type { Command } from '../api/settings.ts';

/** One command. */
export interface CommandText {
  /** Its first word, as it is typed. */
  readonly word: string;
  /** The commands of the option table that begin with this word; none for those that take no options. */
  readonly commands: readonly Command[];
  /** What follows the program's name. */
  readonly synopsis: string;
  /** What it does, as half a sentence. */
  readonly summary: string;
  /** Whole sentences: what it does, what becomes of the tasks, what it exits with. */
  readonly about: readonly string[];
  /** Command lines, each with what it is for. */
  readonly examples: readonly (readonly [line: string, purpose: string])[];
}

/** Every command, in the order in which people meet them. */
export const COMMAND_TEXTS: readonly CommandText[] = [
  {
    word: 'dump',
    commands: ['dump'],
    synopsis: 'dump -t PID [-D DIR] [OPTION...]',
    summary: 'freeze a process tree and write it into image files',
    about: [
      'The process PID and all its descendants are frozen and written into the images directory. Then they end, or with ' +
        '-R they go on. What cannot be saved is named before anything is touched.',
      'With --lazy-pages the processes stay frozen and keep most of their memory until a lazy-pages daemon has fetched it; if ' +
        'that goes away before, they go on.',
      'The exit code is 0 when all is written, 1 when it is not and the processes go on as before. A post-dump action ' +
        'script that fails lets the processes go on as well; its exit code is passed on.',
    ],
    examples: [
      ['dump -t 4711 -D images', 'save process 4711 and its children into ./images, and end them'],
      ['dump -t 4711 -D images -R', 'save them and let them run on'],
      ['dump -t 4711 -D images -j', 'save a program that was started from a shell'],
      ['dump -t 4711 -D images -o dump.log -v4', 'write a detailed log to images/dump.log'],
    ],
  },
  {
    word: 'pre-dump',
    commands: ['pre-dump'],
    synopsis: 'pre-dump -t PID [-D DIR] [--prev-images-dir DIR] [OPTION...]',
    summary: 'save the memory of a tree that runs on, for a later dump',
    about: [
      'The processes stand still only until it is known which of their pages have to be saved; the pages are read while ' +
        'they run. A dump with --prev-images-dir then saves what has changed since. Several pre-dumps make a chain.',
      'A small process named stasis-memory notes from one dump to the next which pages change. Without it the next dump ' +
        'saves everything.',
      'The exit code is 0 when the memory is saved, else 1. The processes go on in any case.',
    ],
    examples: [
      ['pre-dump -t 4711 -D images/1', 'save the memory of process 4711 and its children'],
      ['pre-dump -t 4711 -D images/2 --prev-images-dir ../1', 'save what has changed since'],
      ['dump -t 4711 -D images/3 --prev-images-dir ../2', 'save the rest, and end them'],
    ],
  },
  {
    word: 'restore',
    commands: ['restore'],
    synopsis: 'restore [-D DIR] [OPTION...] [--exec-cmd -- COMMAND...]',
    summary: 'bring a tree back from its image files',
    about: [
      'The processes in the images directory are made again with the IDs they had, and go on where they were. Either all ' +
        'of them run or none: an error leaves nothing behind.',
      'Without -d, Stasis stays their parent until they have ended.',
    ],
    examples: [
      ['restore -D images -d', 'bring the tree back, and end'],
      ['restore -D images -d --pidfile pid', 'write the PID of its root to images/pid'],
      ['restore -D images -j', 'give it the terminal and session of the shell this is run from'],
    ],
  },
  {
    word: 'check',
    commands: ['check'],
    synopsis: 'check [-t PID] [--feature NAME] [OPTION...]',
    summary: 'say what this kernel offers; with -t PID, what a dump would meet',
    about: [
      'Without -t each kernel feature is tried, and those that are missing are listed with what they are needed for. With ' +
        '-t everything that stands in the way of dumping the tree is listed; the tree is not touched.',
      'The exit code is 0 when nothing is missing or in the way, else 1.',
    ],
    examples: [
      ['check', 'try the features every dump and restore needs'],
      ['check -t 4711', 'name what could not be saved of process 4711 and its children'],
      ['check --feature list', 'list the names of all features'],
    ],
  },
  {
    word: 'exec',
    commands: ['exec'],
    synopsis: 'exec -p PID CALL [ARG...]',
    summary: 'run one syscall in another process, which then goes on',
    about: [
      'An argument is a number, a string, or @SIZE for a buffer that the call fills and that is printed afterwards; & ' +
        'before a word makes it a string in any case.',
      'The exit code is 0 when the call succeeded, else 1.',
    ],
    examples: [
      ['exec -p 4711 getpid', 'ask process 4711 for its PID'],
      ['exec -p 4711 getcwd @100 100', 'print its working directory'],
    ],
  },
  {
    word: 'crit',
    commands: [],
    synopsis: 'crit ...',
    summary: 'read, change and explain image files; "crit --help" says how',
    about: ['Images as JSON and back, and what the images of a folder hold together.'],
    examples: [
      ['crit show images/pstree.img', 'print an image'],
      ['crit x images ps', 'list the processes of a folder of images'],
    ],
  },
  {
    word: 'help',
    commands: [],
    synopsis: 'help [COMMAND]',
    summary: 'this text, or the options of one command',
    about: ['The same as --help after a command.'],
    examples: [['help dump', 'the options of dump']],
  },
  {
    word: 'completion',
    commands: [],
    synopsis: 'completion SHELL',
    summary: 'print a completion script for bash, zsh or fish',
    about: ['The script completes commands and options of stasis and criu.'],
    examples: [
      ['completion bash > /etc/bash_completion.d/stasis', 'install it for all users of bash'],
      ['completion fish > ~/.config/fish/completions/stasis.fish', 'install it for one user of fish'],
    ],
  },
  {
    word: 'service',
    commands: ['service'],
    synopsis: 'service [--address PATH | --listen HOST:PORT] [OPTION...]',
    summary: 'serve requests of any program over a socket in the file system',
    about: [
      'Clients connect to a unix socket of type SOCK_SEQPACKET. Each is served by a process of its own, with the user, the ' +
        'groups and the capabilities of the client: it can have dumped what it could trace itself.',
      'The service ends by SIGTERM or SIGINT, and removes the socket.',
      'With --listen it takes trees that "migrate" sends from another machine, with all rights of the service: whoever may ' +
        'connect can have programs run here.',
    ],
    examples: [
      ['service --address /run/stasis.socket', 'listen there'],
      ['service -W /var/lib/stasis -o log --daemon --pidfile pid', 'in the background, in a directory of its own'],
    ],
  },
  {
    word: 'swrk',
    commands: [],
    synopsis: 'swrk FD',
    summary: 'serve the requests of the program that has started Stasis',
    about: [
      'Descriptor FD is a connected unix socket of type SOCK_SEQPACKET. This is how container engines use Stasis under ' +
        'the name criu; the options of the work come in the requests.',
      'The exit code is 0 when all requests were granted, else 1.',
    ],
    examples: [['swrk 3', 'serve the client at the other end of descriptor 3']],
  },
  {
    word: 'cpuinfo',
    commands: ['cpuinfo dump', 'cpuinfo check'],
    synopsis: 'cpuinfo dump|check [-D DIR] [OPTION...]',
    summary: 'save or compare what the processor can do',
    about: [
      'A program that has found an instruction at its start goes on using it. "dump" writes what the processor of this ' +
        'machine can do to cpuinfo.img; "check" compares that of another machine with it, before a tree is moved there.',
      'The exit code of check is 0 when nothing is lacking, else 1, and the error names it.',
    ],
    examples: [
      ['cpuinfo dump -D images', 'write images/cpuinfo.img'],
      ['cpuinfo check -D images --cpu-cap=ins', 'compare the instructions only'],
    ],
  },
  {
    word: 'page-server',
    commands: ['page-server'],
    synopsis: 'page-server [-D DIR] [--address ADDRESS] [--port PORT] [OPTION...]',
    summary: 'store the pages of a dump that is made on another machine',
    about: [
      'Waits for one connection of a dump or pre-dump with --page-server, of Stasis or CRIU 4.2, and writes the contents of ' +
        'memory that it sends into the images directory, while those of its own images directory hold everything else. ' +
        'Put together, the two can be restored. With --prev-images-dir only what has changed is sent.',
      'Without --tls nothing is encrypted, and whoever connects first is served. With --tls both sides need a certificate of ' +
        'one authority, and only who has one is served; the server has to be named by --address as its certificate ' +
        'names it, unless the dump is given --tls-no-cn-verify.',
      'With --lazy-pages it gives what its images hold to a lazy-pages daemon.',
      'The exit code is 0 when everything was stored, else 1, and then no images are left.',
    ],
    examples: [
      ['page-server -D images --port 7000', 'wait for a dump'],
      ['dump -t 4711 -D rest --page-server --address 192.0.2.1 --port 7000', 'send it the pages of process 4711'],
    ],
  },
  {
    word: 'migrate',
    commands: ['migrate'],
    synopsis: 'migrate -t PID --to HOST:PORT|--ssh HOST [OPTION...]',
    summary: 'move a process tree to another machine while it runs',
    about: [
      'Over there "stasis service --listen HOST:PORT" takes it, or, with --ssh, Stasis is started for that. First it is asked ' +
        'what is in the way there: processor, process IDs, files, addresses and ports. Then the memory is copied in rounds ' +
        'while the tree runs, until little has changed in one, or the rounds do not become smaller. The tree is frozen, the ' +
        'rest is sent, and it ends here when it runs there. Whatever fails before that, it goes on here.',
      'Over a network, TLS with certificates at both sides is needed (--tls), or --insecure. Options that say what is carried ' +
        '(--tcp-established, --file-locks, ...) count for both sides. Action scripts are those of each side.',
      'The exit code is 0 when the tree runs there, else 1. If the connection breaks in the moment of handing over, and the ' +
        'other machine does not answer any more, the tree stays stopped here, and the error says what to do.',
    ],
    examples: [
      ['service --listen :7000 --tls', 'there: take trees, with the certificates in /etc/pki'],
      ['migrate -t 4711 --to host.example:7000 --tls --tcp-established', 'move process 4711 there'],
      ['migrate -t 4711 --ssh root@host.example --shell-job', 'the same over ssh, without a service'],
    ],
  },
  {
    word: 'lazy-pages',
    commands: ['lazy-pages'],
    synopsis: 'lazy-pages [-D DIR] [-W DIR] [OPTION...]',
    summary: 'bring the memory of restored processes when they need it',
    about: [
      'Waits in the work directory for one "restore --lazy-pages" of the same images, of Stasis or CRIU. The processes run ' +
        'before their private anonymous memory is there: whoever touches a page waits until it has come, and all others ' +
        'follow. The daemon ends by itself when everything is there, and must not be ended before.',
      'With --page-server, pages that are not in the images come from a "dump --lazy-pages", which has kept them in the ' +
        'processes that it has frozen, or from a "page-server --lazy-pages", of Stasis or CRIU 4.2.',
      'The exit code is 0 when everything was brought, else 1. If the restore had succeeded by then, whoever touches a page ' +
        'that was not brought gets SIGBUS. If the daemon is killed (SIGKILL), the kernel gives zeros instead: end the ' +
        'processes then.',
    ],
    examples: [
      ['lazy-pages -D images', 'wait for a restore'],
      ['lazy-pages -D images --daemon --pidfile pid', 'in the background'],
      ['restore -D images -d --lazy-pages', 'restore, with the pages to come later'],
      ['dump -t 4711 -D images --lazy-pages --port 7000', 'elsewhere: save all but the memory, and give that later'],
      ['lazy-pages -D images --page-server --address 192.0.2.1 --port 7000', 'have it come from there'],
    ],
  },
  {
    word: 'dedup',
    commands: ['dedup'],
    synopsis: 'dedup [-D DIR]',
    summary: 'free what earlier images of a chain hold in vain',
    about: [
      'Of pages that the images in DIR have anew, the contents in all earlier images of the chain are freed: holes are ' +
        'made in their files. Afterwards only the last images can be restored; that others cannot is told at a restore. ' +
        'A dump with --auto-dedup does the same at its end.',
      'The exit code is 0 when that is done, else 1.',
    ],
    examples: [['dedup -D images/3', 'free what images/3 has replaced in images/2 and images/1']],
  },
  {
    word: 'store',
    commands: ['store add', 'store get', 'store ls', 'store rm', 'store gc', 'store check'],
    synopsis: 'store add|get|rm NAME, store ls|gc|check [--store DIR] [OPTION...]',
    summary: 'keep many snapshots in the room of what differs between them',
    about: [
      'A store is a folder in which every page and every other content of images is there once, whatever snapshots and ' +
        'processes have it. "add" takes the images of a complete dump in, with those of earlier dumps that they need, and ' +
        'leaves them where they are; "get" writes them into an empty folder, from which they are restored; "ls" lists the ' +
        'snapshots; "rm" removes one, and "gc" frees what no snapshot needs any more.',
      'Everything that is read is compared with its digest (SHA-256); "check" does so with the whole store. What is killed ' +
        'on the way leaves the store as it was. Compressed images have little in common: dump without --compress.',
      'The exit code is 0 when that is done, and for check when nothing is wrong; else 1.',
    ],
    examples: [
      ['store add monday -D images', 'keep the images in ./images under this name'],
      ['store get monday -D again', 'write them to ./again'],
      ['store ls', 'list all snapshots'],
      ['store rm monday', 'remove it'],
      ['store gc', 'free what is not needed any more'],
    ],
  },
];

/** @returns undefined for a word that is no command */
export function commandText(word: string): CommandText | undefined {
  return COMMAND_TEXTS.find((text) => text.word === word);
}
