/* A disk and a clock that fail on command, under a program that doesn't know (LD_PRELOAD; Linux, 64 bits).
 *
 * What the program writes below FAULTS_LIVE goes through to the real files, so reads, the page cache and a SIGKILL
 * are the system's own. Beside them, below FAULTS_SIDE, is what a power failure would leave:
 *
 *   control       what disk.py commands (struct control)
 *   kept/INODE    the content of a live file, as far as it is known to be on disk
 *   dirty/INODE   which blocks of the live file are not (struct map): mapped, so it outlives a SIGKILL
 *   names/PATH    a second link to the kept content of the file that has this name on disk
 *   moved/INODE   a symlink to the name that a renamed file still has on disk
 *
 * A sync copies dirty blocks from live to kept; the real sync is left out, it would only take time. Names go to disk
 * with a sync of their directory, or of the file itself, as with ext4.
 *
 * Not seen: mmap, stdio, O_SYNC, sync(2) and syncfs(2) (none of them makes anything durable here), io_uring, splice(2).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE /* not everywhere in stdio.h */
#define RENAME_EXCHANGE 2
#endif

_Static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "a 64-bit system is needed");

enum { BLOCK = 4096, SLOTS = 512 };
#define BLOCKS (4u << 20) /* of the largest file: 16 GiB */
#define SECOND 1000000000LL

/* ---- What is shared with disk.py, which knows these offsets ---- */

struct control {
    _Atomic int64_t clock_step; /* nanoseconds that the real-time clock is ahead */
    _Atomic int64_t room;       /* bytes that files may still grow by; negative: any number */
    _Atomic int64_t failures;   /* syncs that are still to fail */
    _Atomic int64_t delay;      /* nanoseconds that a sync takes longer */
    _Atomic int64_t syncs;      /* that there have been, failed ones too */
};

struct map {
    _Atomic uint32_t dead;    /* the inode has no name any more, and its number may be another file's */
    _Atomic uint32_t resized; /* the size is not on disk */
    _Atomic uint64_t high;    /* no block from here on was ever dirty */
    char unused[BLOCK - 16];
    _Atomic unsigned char blocks[BLOCKS];
};

enum { CLEAN, DIRTY, COPYING }; /* what is COPYING is dirty still, if the copier gets killed */

static struct control *control; /* NULL until set up: everything goes through untouched */
static char live[PATH_MAX];
static char side[PATH_MAX];
static size_t live_length;
static dev_t device;
static int (*next_clock_gettime)(clockid_t, struct timespec *);

static void die(const char *what)
{
    fprintf(stderr, "faults: %s: %s\n", what, strerror(errno));
    abort(); /* a disk that only seems to work would be worse */
}

/* ---- The system's own calls, for those that are replaced below ---- */

static int true_openat(int dir, const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

static ssize_t true_pwrite(int fd, const void *data, size_t size, off_t at)
{
    return syscall(SYS_pwrite64, fd, data, size, at);
}

static ssize_t true_pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    return syscall(SYS_pwritev2, fd, parts, (long)count, at, 0L, flags);
}

static int true_ftruncate(int fd, off_t size)
{
    return (int)syscall(SYS_ftruncate, fd, size);
}

static int true_fallocate(int fd, int mode, off_t at, off_t size)
{
    return (int)syscall(SYS_fallocate, fd, mode, at, size);
}

static int true_unlinkat(int dir, const char *path, int flags)
{
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

static int true_renameat2(int dir, const char *old, int new_dir, const char *new, unsigned flags)
{
    return (int)syscall(SYS_renameat2, dir, old, new_dir, new, flags);
}

static int true_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (next_clock_gettime) /* it needs no system call */
        return next_clock_gettime(clock, now);
    return (int)syscall(SYS_clock_gettime, clock, now);
}

/* ---- Paths ---- */

struct path {
    char text[PATH_MAX];
};

__attribute__((format(printf, 2, 3))) static void form(struct path *path, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(path->text, sizeof path->text, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= PATH_MAX) {
        errno = ENAMETOOLONG;
        die(format);
    }
}

static void of_inode(struct path *path, const char *kind, ino_t inode)
{
    form(path, "%s/%s/%llu", side, kind, (unsigned long long)inode);
}

static void of_name(struct path *path, const char *name)
{
    form(path, "%s/names%s", side, name);
}

/* Where the kernel says that `fd` is; false for what has no path. */
static bool path_of(int fd, struct path *path)
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path->text, sizeof path->text - 1);
    path->text[length > 0 ? length : 0] = 0;
    return length > 0 && path->text[0] == '/';
}

/* The name below live ("" for live itself, "/ssl/key.pem"); NULL for other places. */
static const char *below(const struct path *path)
{
    if (strncmp(path->text, live, live_length))
        return NULL;
    const char *name = path->text + live_length;
    return *name == 0 || *name == '/' ? name : NULL;
}

/* Without links, where `path` would be made or removed. */
static bool locate(int dir, const char *path, struct path *place)
{
    const char *slash = strrchr(path, '/');
    struct path parent;
    if (strlen(path) >= PATH_MAX || strlen(slash ? slash : path) > NAME_MAX + 1)
        return false;
    form(&parent, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = true_openat(dir, parent.text, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool found = path_of(fd, &parent);
    close(fd);
    if (found)
        form(place, "%s/%s", parent.text, slash ? slash + 1 : path);
    return found;
}

static bool is_file(const char *path, struct stat *status)
{
    return lstat(path, status) == 0 && S_ISREG(status->st_mode);
}

static bool same_file(const char *one, const char *other)
{
    struct stat first, second;
    return is_file(one, &first) && is_file(other, &second) && first.st_ino == second.st_ino;
}

static void make_parents(struct path *path)
{
    for (char *slash = path->text + strlen(side) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path->text, 0700);
        *slash = '/';
    }
}

/* ---- One thread at a time, also across fork ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void)
{
    pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

/* ---- Which blocks are dirty; from here to the calls themselves, the lock is held ---- */

/* A cache by inode, for descriptors get duplicated, inherited and used again. No descriptor is kept open: the program
 * may close any. */
static struct slot {
    ino_t inode;
    struct map *map;
} slots[SLOTS];

static struct slot *slot_of(ino_t inode)
{
    return &slots[inode % SLOTS];
}

static struct map *cached(ino_t inode)
{
    struct slot *slot = slot_of(inode);
    return slot->map && slot->inode == inode && !slot->map->dead ? slot->map : NULL;
}

static void evict(ino_t inode)
{
    struct slot *slot = slot_of(inode);
    if (slot->map)
        munmap(slot->map, sizeof *slot->map);
    slot->map = NULL;
}

static struct map *cache(ino_t inode, int fd)
{
    evict(inode);
    struct stat status;
    if (fstat(fd, &status) || (status.st_size == 0 && true_ftruncate(fd, sizeof(struct map))))
        die("a dirty map has no size");
    void *map = mmap(NULL, sizeof(struct map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        die("a dirty map can't be mapped");
    *slot_of(inode) = (struct slot){inode, map};
    return map;
}

/* NULL if the inode was never seen. */
static struct map *load(ino_t inode)
{
    struct map *map = cached(inode);
    if (map)
        return map;
    struct path path;
    of_inode(&path, "dirty", inode);
    int fd = true_openat(AT_FDCWD, path.text, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0 && errno != ENOENT)
        die(path.text);
    return fd < 0 ? NULL : cache(inode, fd);
}

static void mark(struct map *map, off_t from, off_t end)
{
    if (end <= from)
        return;
    uint64_t last = (uint64_t)(end - 1) / BLOCK;
    if (last >= BLOCKS) {
        errno = EFBIG;
        die("a file is too large");
    }
    for (uint64_t block = (uint64_t)from / BLOCK; block <= last; block++)
        map->blocks[block] = DIRTY;
    uint64_t high = map->high;
    while (high <= last && !atomic_compare_exchange_weak(&map->high, &high, last + 1))
        ;
}

/* A write's range, before it (for a kill after it) and after it (for another process's sync during it). */
static void mark_change(struct map *map, off_t size, off_t from, off_t end)
{
    mark(map, from, end);
    if (end > size)
        map->resized = 1;
}

static void mark_clean(struct map *map)
{
    map->resized = 0;
    for (uint64_t block = 0; block < map->high; block++)
        map->blocks[block] = CLEAN;
}

/* ---- Which files there are ---- */

static int new_side_file(const char *kind, ino_t inode, mode_t mode)
{
    struct path path;
    of_inode(&path, kind, inode);
    int fd = true_openat(AT_FDCWD, path.text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, mode & 07777))
        die(path.text);
    return fd;
}

/* The inode is gone. Its kept content stays for as long as it has a name on disk. */
static void forget(ino_t inode)
{
    static const char *const kinds[] = {"kept", "dirty", "moved"};
    struct map *map = load(inode);
    if (map)
        map->dead = 1; /* for the other processes that have it mapped */
    evict(inode);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct path path;
        of_inode(&path, kinds[i], inode);
        true_unlinkat(AT_FDCWD, path.text, 0);
    }
}

/* A file of which nothing is on disk: a new one, or one that came from elsewhere. */
static struct map *enroll(const struct stat *status)
{
    forget(status->st_ino); /* a number that is used again */
    close(new_side_file("kept", status->st_ino, status->st_mode));
    struct map *map = cache(status->st_ino, new_side_file("dirty", status->st_ino, 0600));
    mark_change(map, 0, 0, status->st_size);
    return map;
}

static bool may_be_ours(int fd, struct stat *status)
{
    return control && fstat(fd, status) == 0 && S_ISREG(status->st_mode) && status->st_dev == device &&
           status->st_nlink > 0;
}

static struct map *find(int fd, const struct stat *status)
{
    struct map *map = cached(status->st_ino);
    struct path path;
    if (map)
        return map;
    if (!path_of(fd, &path) || !below(&path))
        return NULL;
    map = load(status->st_ino);
    return map ? map : enroll(status);
}

/* Takes the lock if `fd` is a file below live, and only then. */
static struct map *hold(int fd, struct stat *status)
{
    if (!may_be_ours(fd, status))
        return NULL;
    lock();
    struct map *map = may_be_ours(fd, status) ? find(fd, status) : NULL;
    if (!map)
        unlock();
    return map;
}

/* ---- Names ---- */

static bool is_name_durable(ino_t inode, const char *name)
{
    struct path kept, durable;
    of_inode(&kept, "kept", inode);
    of_name(&durable, name);
    return same_file(kept.text, durable.text);
}

static void put_name(ino_t inode, const char *name)
{
    struct path kept, durable, draft;
    of_inode(&kept, "kept", inode);
    of_name(&durable, name);
    form(&draft, "%s/draft.%d", side, (int)getpid());
    make_parents(&durable);
    true_unlinkat(AT_FDCWD, draft.text, 0);
    if (linkat(AT_FDCWD, kept.text, AT_FDCWD, draft.text, 0) ||
        true_renameat2(AT_FDCWD, draft.text, AT_FDCWD, durable.text, 0))
        die(durable.text);
}

static bool moved_from(ino_t inode, struct path *name)
{
    struct path link;
    of_inode(&link, "moved", inode);
    ssize_t length = readlink(link.text, name->text, sizeof name->text - 1);
    name->text[length > 0 ? length : 0] = 0;
    return length > 0;
}

/* Finishes a rename: the old name goes in the same step as the new one comes, as in a journal. */
static void drop_former_name(ino_t inode)
{
    struct path former, durable, now, link;
    struct stat status;
    if (!moved_from(inode, &former))
        return;
    of_name(&durable, former.text);
    form(&now, "%s%s", live, former.text);
    bool is_back = is_file(now.text, &status) && status.st_ino == inode;
    if (!is_back && is_name_durable(inode, former.text))
        true_unlinkat(AT_FDCWD, durable.text, 0);
    of_inode(&link, "moved", inode);
    true_unlinkat(AT_FDCWD, link.text, 0);
}

static void make_name_durable(ino_t inode, const char *name)
{
    if (is_name_durable(inode, name)) /* nearly always */
        return;
    put_name(inode, name);
    drop_former_name(inode);
}

static void remember_move(ino_t inode, const char *name)
{
    struct path link;
    of_inode(&link, "moved", inode);
    if (is_name_durable(inode, name))
        (void)!symlinkat(name, AT_FDCWD, link.text); /* of several moves, the first has the name that is on disk */
}

static void make_entry_durable(const struct path *path)
{
    struct path kept;
    struct stat status;
    if (!is_file(path->text, &status) || is_name_durable(status.st_ino, below(path)))
        return;
    of_inode(&kept, "kept", status.st_ino);
    if (access(kept.text, F_OK))
        enroll(&status);
    make_name_durable(status.st_ino, below(path));
}

/* `path` is below side/names. A file that was moved away keeps its old name until the new one is on disk. */
static void drop_stale_entry(const struct path *path, const char *name)
{
    struct path now;
    struct stat durable, status;
    form(&now, "%s%s", live, name);
    if (is_file(now.text, &status) || !is_file(path->text, &durable))
        return;
    bool is_moved = durable.st_nlink == 2; /* kept/INODE and this name: it lives, and has no other name on disk */
    if (!is_moved)
        true_unlinkat(AT_FDCWD, path->text, 0);
}

static bool next_entry(DIR *directory, const char *folder, struct path *path)
{
    struct dirent *entry = directory ? readdir(directory) : NULL;
    if (entry)
        form(path, "%s/%s", folder, entry->d_name);
    return entry != NULL;
}

static void close_folder(DIR *directory)
{
    if (directory)
        closedir(directory);
}

static void make_names_durable(const char *name)
{
    struct path now, durable, entry;
    form(&now, "%s%s", live, name);
    of_name(&durable, name);
    DIR *directory = opendir(now.text);
    while (next_entry(directory, now.text, &entry))
        make_entry_durable(&entry);
    close_folder(directory);
    directory = opendir(durable.text);
    while (next_entry(directory, durable.text, &entry))
        drop_stale_entry(&entry, entry.text + strlen(side) + strlen("/names"));
    close_folder(directory);
}

/* ---- Room ---- */

/* As much of `wanted` as there is room for. */
static off_t take_room(off_t wanted)
{
    int64_t left = control->room;
    off_t taken;
    do {
        if (left < 0 || wanted <= 0)
            return wanted;
        taken = wanted < left ? wanted : left;
    } while (!atomic_compare_exchange_weak(&control->room, &left, left - taken));
    return taken;
}

static void give_room_back(off_t size)
{
    if (size > 0 && control->room >= 0)
        control->room += size;
}

static bool take_all_room(off_t wanted)
{
    off_t taken = take_room(wanted);
    if (taken >= wanted)
        return true;
    give_room_back(taken);
    errno = ENOSPC;
    return false;
}

static bool is_full_for(int dir, const char *path)
{
    struct path place;
    struct stat status;
    return control->room == 0 && fstatat(dir, path, &status, AT_SYMLINK_NOFOLLOW) && locate(dir, path, &place) &&
           below(&place);
}

/* ---- Writing ---- */

static off_t start_of_write(int fd, const struct stat *status, off_t at)
{
    if (fcntl(fd, F_GETFL) & O_APPEND)
        return status->st_size;
    return at >= 0 ? at : lseek(fd, 0, SEEK_CUR);
}

static off_t total(const struct iovec *parts, int count)
{
    off_t size = 0;
    for (int i = 0; i < count; i++)
        size += (off_t)parts[i].iov_len;
    return size;
}

/* How many of the parts go into `size` bytes; `cut` is for the first one if not even that does. */
static int clip(const struct iovec **parts, int count, off_t size, struct iovec *cut)
{
    int whole = 0;
    while (whole < count && total(*parts, whole + 1) <= size)
        whole++;
    if (whole == count || total(*parts, whole) > 0)
        return whole;
    *cut = (struct iovec){(*parts)[whole].iov_base, (size_t)size};
    *parts = cut;
    return 1;
}

static ssize_t put_within(struct map *map, int fd, off_t old_size, const struct iovec *parts, int count, off_t at,
                          off_t from, int flags)
{
    off_t end = from + total(parts, count);
    mark_change(map, old_size, from, end);
    ssize_t written = true_pwritev2(fd, parts, count, at, flags);
    if (written > 0)
        mark_change(map, old_size, from, from + written);
    return written;
}

static off_t growth(off_t old_size, off_t new_size)
{
    return new_size > old_size ? new_size - old_size : 0;
}

static ssize_t put(struct map *map, int fd, const struct stat *status, const struct iovec *parts, int count, off_t at,
                   int flags)
{
    struct iovec cut;
    off_t from = start_of_write(fd, status, at);
    off_t wanted = total(parts, count);
    off_t needed = wanted ? growth(status->st_size, from + wanted) : 0;
    off_t taken = take_room(needed);
    off_t fits = taken < needed ? status->st_size + taken - from : wanted;
    if (wanted && fits <= 0) {
        give_room_back(taken);
        errno = ENOSPC;
        return -1;
    }
    count = clip(&parts, count, fits, &cut);
    ssize_t written = put_within(map, fd, status->st_size, parts, count, at, from, flags);
    give_room_back(taken - (written > 0 ? growth(status->st_size, from + written) : 0));
    return written;
}

static int resize(struct map *map, int fd, off_t old_size, off_t size)
{
    off_t more = growth(old_size, size);
    if (!take_all_room(more))
        return -1;
    mark(map, old_size < size ? old_size : size, old_size < size ? size : old_size);
    map->resized = 1;
    int result = true_ftruncate(fd, size);
    if (result)
        give_room_back(more);
    return result;
}

static int allocate(struct map *map, int fd, off_t old_size, int mode, off_t at, off_t size)
{
    off_t more = mode & FALLOC_FL_KEEP_SIZE ? 0 : growth(old_size, at + size);
    if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (!take_all_room(more))
        return -1;
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        mark(map, at, at + size);
    if (more)
        map->resized = 1;
    int result = true_fallocate(fd, mode, at, size);
    if (result)
        give_room_back(more);
    return result;
}

/* ---- Syncing ---- */

/* To read what was written through a descriptor that can't read. Not for others: closing any descriptor of a file drops
 * the process's fcntl locks on it, SQLite's among them. */
static int readable(int fd)
{
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY)
        return fd;
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int other = true_openat(AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    if (other < 0)
        die("a written file can't be read");
    return other;
}

static void copy_block(int from, int to, uint64_t block)
{
    char data[BLOCK];
    ssize_t size = pread(from, data, sizeof data, (off_t)block * BLOCK);
    if (size < 0 || true_pwrite(to, data, (size_t)size, (off_t)block * BLOCK) != size)
        die("a block can't be kept");
}

static void copy_dirty_blocks(struct map *map, int from, int to)
{
    for (uint64_t block = 0; block < map->high; block++) {
        if (map->blocks[block] == CLEAN)
            continue;
        unsigned char copying = COPYING;
        map->blocks[block] = copying;
        copy_block(from, to, block);
        atomic_compare_exchange_strong(&map->blocks[block], &copying, CLEAN); /* or it was written again meanwhile */
    }
}

static void make_content_durable(struct map *map, int fd, const struct stat *status)
{
    struct path kept;
    of_inode(&kept, "kept", status->st_ino);
    int to = true_openat(AT_FDCWD, kept.text, O_WRONLY | O_CLOEXEC, 0);
    int from = readable(fd);
    if (to < 0 || (map->resized && true_ftruncate(to, status->st_size)))
        die(kept.text);
    map->resized = 0;
    copy_dirty_blocks(map, from, to);
    close(to);
    if (from != fd)
        close(from);
}

static bool is_to_fail(void)
{
    int64_t left = control->failures;
    while (left > 0)
        if (atomic_compare_exchange_weak(&control->failures, &left, left - 1))
            return true;
    return false;
}

static void take_longer(void)
{
    int64_t delay = control->delay;
    struct timespec rest = {delay / SECOND, delay % SECOND};
    while (delay && nanosleep(&rest, &rest) && errno == EINTR)
        ;
}

static void sync_file(int fd, const char *name, bool fails)
{
    struct stat status;
    struct map *map = hold(fd, &status);
    if (!map)
        return;
    if (fails) {
        mark_clean(map); /* as Linux does: no later sync tries these pages again */
    } else {
        make_content_durable(map, fd, &status);
        make_name_durable(status.st_ino, name);
    }
    unlock();
}

static void sync_folder(const char *name, bool fails)
{
    lock();
    if (!fails)
        make_names_durable(name);
    unlock();
}

static int sync_below(int fd, const char *name, bool is_folder)
{
    take_longer();
    bool fails = is_to_fail();
    if (is_folder)
        sync_folder(name, fails);
    else
        sync_file(fd, name, fails);
    control->syncs++;
    if (!fails)
        return 0;
    errno = EIO;
    return -1;
}

static int sync_any(int fd, long call)
{
    struct stat status;
    struct path path;
    bool is_folder = control && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
    if ((is_folder || may_be_ours(fd, &status)) && path_of(fd, &path) && below(&path))
        return sync_below(fd, below(&path), is_folder);
    return (int)syscall(call, fd);
}

/* ---- Opening ---- */

/* The lock is held from before the file is there until it is known, so no thread's write comes between. */
static int create(int dir, const char *path, int flags, mode_t mode)
{
    struct path place;
    struct stat status;
    if (is_full_for(dir, path)) {
        errno = ENOSPC;
        return -1;
    }
    lock();
    int fd = true_openat(dir, path, flags | O_CREAT | O_EXCL, mode);
    if (fd >= 0 && may_be_ours(fd, &status) && path_of(fd, &place) && below(&place))
        enroll(&status);
    unlock();
    return fd;
}

/* Like open with O_CREAT, but it is known which of the two it was: a created file's inode may be an old number. */
static int open_or_create(int dir, const char *path, int flags, mode_t mode)
{
    for (int tries = 0; tries < 3; tries++) {
        int fd = flags & O_EXCL ? -1 : true_openat(dir, path, flags & ~O_CREAT, mode);
        if (fd >= 0 || (!(flags & O_EXCL) && errno != ENOENT))
            return fd;
        fd = create(dir, path, flags, mode);
        if (fd >= 0 || flags & O_EXCL || errno != EEXIST)
            return fd;
    }
    return true_openat(dir, path, flags, mode); /* a link to nothing */
}

static int open_and_empty(int dir, const char *path, int flags, mode_t mode)
{
    struct stat status;
    int fd = open_or_create(dir, path, flags & ~O_TRUNC, mode);
    if (fd < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode) || ftruncate(fd, 0) == 0)
        return fd;
    close(fd);
    return -1;
}

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
    bool is_nameless = (flags & O_TMPFILE) == O_TMPFILE || flags & O_PATH;
    if (!control || is_nameless || !(flags & (O_CREAT | O_TRUNC)))
        return true_openat(dir, path, flags, mode);
    if (flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY)
        return open_and_empty(dir, path, flags, mode);
    return flags & O_CREAT ? open_or_create(dir, path, flags, mode) : true_openat(dir, path, flags, mode);
}

/* ---- Removing and renaming ---- */

static int remove_any(int dir, const char *path, int flags)
{
    struct path place;
    struct stat status;
    if (!control || flags & AT_REMOVEDIR || !locate(dir, path, &place) || !below(&place))
        return true_unlinkat(dir, path, flags);
    lock();
    bool is_last = is_file(place.text, &status) && status.st_nlink == 1;
    int result = true_unlinkat(dir, path, flags);
    if (result == 0 && is_last)
        forget(status.st_ino);
    unlock();
    return result;
}

static void after_file_moved(ino_t inode, const char *old, const char *new)
{
    if (!new)
        forget(inode);
    else if (old)
        remember_move(inode, old);
}

/* What a directory is called is on disk at once, as is that it was made. */
static void after_folder_moved(const char *old, const char *new)
{
    struct path durable, renamed;
    if (!old || !new)
        return;
    of_name(&durable, old);
    of_name(&renamed, new);
    make_parents(&renamed);
    true_renameat2(AT_FDCWD, durable.text, AT_FDCWD, renamed.text, 0);
}

static int rename_known(const struct path *old, const struct path *new, unsigned flags)
{
    struct stat status, replaced;
    bool is_there = lstat(old->text, &status) == 0;
    bool replaces = is_file(new->text, &replaced) && replaced.st_ino != status.st_ino && replaced.st_nlink == 1;
    int result = true_renameat2(AT_FDCWD, old->text, AT_FDCWD, new->text, flags);
    if (result || !is_there)
        return result;
    if (replaces && below(new))
        forget(replaced.st_ino);
    if (S_ISREG(status.st_mode))
        after_file_moved(status.st_ino, below(old), below(new));
    else if (S_ISDIR(status.st_mode))
        after_folder_moved(below(old), below(new));
    return result;
}

static int rename_any(int dir, const char *old, int new_dir, const char *new, unsigned flags)
{
    struct path from, to;
    bool is_known = control && locate(dir, old, &from) && locate(new_dir, new, &to) && (below(&from) || below(&to));
    if (!is_known)
        return true_renameat2(dir, old, new_dir, new, flags);
    if (flags & RENAME_EXCHANGE) {
        errno = EINVAL;
        return -1;
    }
    lock();
    int result = rename_known(&from, &to, flags);
    unlock();
    return result;
}

/* ---- Setting up ---- */

static bool take_paths(void)
{
    const char *wanted_live = getenv("FAULTS_LIVE");
    const char *wanted_side = getenv("FAULTS_SIDE");
    if (!wanted_live || !wanted_side || strlen(wanted_live) >= PATH_MAX || strlen(wanted_side) >= PATH_MAX)
        return false;
    strcpy(live, wanted_live);
    strcpy(side, wanted_side);
    live_length = strlen(live);
    return true;
}

static struct control *map_control(void)
{
    struct path path;
    struct stat status;
    form(&path, "%s/control", side);
    int fd = true_openat(AT_FDCWD, path.text, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &status))
        die(path.text);
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        die(path.text);
    close(fd);
    device = status.st_dev;
    return shared;
}

__attribute__((constructor)) static void set_up(void)
{
    *(void **)&next_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    if (!take_paths())
        return;
    if (pthread_atfork(lock, unlock, unlock)) /* a child never sees a half-changed cache */
        die("fork");
    control = map_control();
}

/* ---- The calls that are replaced ---- */

#define MODE_OF(flags, mode)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {                                                     \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode = va_arg(arguments, mode_t);                                                                              \
        va_end(arguments);                                                                                             \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    MODE_OF(flags, mode)
    return open_any(dir, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    struct stat status;
    struct map *map = hold(fd, &status);
    if (!map)
        return syscall(SYS_write, fd, data, size);
    struct iovec part = {(void *)data, size};
    ssize_t written = put(map, fd, &status, &part, 1, -1, 0);
    unlock();
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    struct stat status;
    struct map *map = count <= 0 ? NULL : hold(fd, &status);
    if (!map)
        return syscall(SYS_writev, fd, parts, (long)count);
    ssize_t written = put(map, fd, &status, parts, count, -1, 0);
    unlock();
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    struct stat status;
    struct map *map = at < 0 ? NULL : hold(fd, &status);
    if (!map)
        return true_pwrite(fd, data, size, at);
    struct iovec part = {(void *)data, size};
    ssize_t written = put(map, fd, &status, &part, 1, at, 0);
    unlock();
    return written;
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    struct stat status;
    struct map *map = count <= 0 ? NULL : hold(fd, &status);
    if (!map)
        return true_pwritev2(fd, parts, count, at, flags);
    ssize_t written = put(map, fd, &status, parts, count, at, flags);
    unlock();
    return written;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    if (at >= 0)
        return pwritev2(fd, parts, count, at, 0);
    errno = EINVAL;
    return -1;
}

int ftruncate(int fd, off_t size)
{
    struct stat status;
    struct map *map = size < 0 ? NULL : hold(fd, &status);
    if (!map)
        return true_ftruncate(fd, size);
    int result = resize(map, fd, status.st_size, size);
    unlock();
    return result;
}

int truncate(const char *path, off_t size)
{
    int fd = true_openat(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int result = ftruncate(fd, size);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    struct stat status;
    struct map *map = at < 0 || size <= 0 ? NULL : hold(fd, &status);
    if (!map)
        return true_fallocate(fd, mode, at, size);
    int result = allocate(map, fd, status.st_size, mode, at, size);
    unlock();
    return result;
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    int before = errno;
    int error = fallocate(fd, 0, at, size) ? errno : 0;
    errno = before;
    return error;
}

int fsync(int fd)
{
    return sync_any(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_any(fd, SYS_fdatasync);
}

int unlink(const char *path)
{
    return remove_any(AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *path, int flags)
{
    return remove_any(dir, path, flags);
}

int rename(const char *old, const char *new)
{
    return rename_any(AT_FDCWD, old, AT_FDCWD, new, 0);
}

int renameat(int dir, const char *old, int new_dir, const char *new)
{
    return rename_any(dir, old, new_dir, new, 0);
}

int renameat2(int dir, const char *old, int new_dir, const char *new, unsigned flags)
{
    return rename_any(dir, old, new_dir, new, flags);
}

/* Into live files only what is written counts; whoever copies falls back to that. */
static bool is_known(int fd)
{
    struct stat status;
    struct map *map = hold(fd, &status);
    if (map)
        unlock();
    errno = ENOSYS;
    return map != NULL;
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags)
{
    return is_known(to) ? -1 : syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size)
{
    return is_known(to) ? -1 : syscall(SYS_sendfile, to, from, at, size);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = true_clock_gettime(clock, now);
    bool is_real_time = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    int64_t step = control ? control->clock_step : 0;
    if (result || !is_real_time || !step)
        return result;
    int64_t nanoseconds = now->tv_sec * SECOND + now->tv_nsec + step;
    now->tv_sec = nanoseconds / SECOND - (nanoseconds % SECOND < 0);
    now->tv_nsec = nanoseconds - now->tv_sec * SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact))
        return -1;
    *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

/* glibc has a second name for each, which most programs are built with; musl has not. */
#ifdef __GLIBC__
#define ALSO(name, original) extern __typeof__(original) name __attribute__((alias(#original)))
ALSO(open64, open);
ALSO(openat64, openat);
ALSO(creat64, creat);
ALSO(pwrite64, pwrite);
ALSO(pwritev64, pwritev);
ALSO(pwritev64v2, pwritev2);
ALSO(ftruncate64, ftruncate);
ALSO(truncate64, truncate);
ALSO(fallocate64, fallocate);
ALSO(posix_fallocate64, posix_fallocate);
ALSO(sendfile64, sendfile);

/* What open becomes in programs that are built with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

int __openat_2(int dir, const char *path, int flags)
{
    return open_any(dir, path, flags, 0);
}

ALSO(__open64_2, __open_2);
ALSO(__openat64_2, __openat_2);
#endif
