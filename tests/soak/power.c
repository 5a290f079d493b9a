/* Notes what a process writes, syncs, creates and removes in one folder, in the order in which it
   is done: what a power cut may undo. Preloaded; Linux with glibc.

   A note: kind (1 byte), offset or size (8), length of the data (4), length of the name (1), the
   name, the data; numbers as the machine has them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_DESCRIPTOR = 1024, MAX_NAME = 64 };

static const char *folder;
static int notes = -1;
static char names[MAX_DESCRIPTOR][MAX_NAME]; /* "." is the folder, "" nothing of ours */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* so that the order noted is the true one */

__attribute__((constructor)) static void begin(void) {
    folder = getenv("POWER_FOLDER");
    notes = (int)syscall(SYS_openat, AT_FDCWD, getenv("POWER_NOTES"),
                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *name_in_folder(const char *path) {
    size_t size = strlen(folder);
    if (strncmp(path, folder, size) != 0) return "";
    if (path[size] == '\0') return ".";
    const char *name = path + size + 1;
    return path[size] != '/' || strlen(name) >= MAX_NAME || strchr(name, '/') ? "" : name;
}

static const char *name_of(int descriptor) {
    return descriptor < 0 || descriptor >= MAX_DESCRIPTOR ? "" : names[descriptor];
}

static void note(char kind, const char *name, uint64_t offset, const void *data, uint32_t length) {
    uint8_t name_length = (uint8_t)strlen(name);
    struct iovec parts[] = {
        {&kind, 1}, {&offset, 8}, {&length, 4}, {&name_length, 1},
        {(void *)name, name_length}, {(void *)data, length},
    };
    ssize_t size = 1 + 8 + 4 + 1 + name_length + (ssize_t)length;
    if (syscall(SYS_writev, notes, parts, 6) != size) abort();
}

static int open_noted(const char *path, int flags, mode_t mode) {
    const char *name = name_in_folder(path);
    pthread_mutex_lock(&turn);
    int is_new = *name && (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTOR) {
        strcpy(names[descriptor], name);
        if (is_new) note('c', name, 0, "", 0);
        if (*name && (flags & O_TRUNC)) note('t', name, 0, "", 0);
    }
    pthread_mutex_unlock(&turn);
    return descriptor;
}

#define OPEN(symbol)                                  \
    int symbol(const char *path, int flags, ...) {    \
        va_list rest;                                 \
        va_start(rest, flags);                        \
        mode_t mode = va_arg(rest, mode_t);           \
        va_end(rest);                                 \
        return open_noted(path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)

int close(int descriptor) {
    if (*name_of(descriptor)) *names[descriptor] = '\0';
    return (int)syscall(SYS_close, descriptor);
}

/* What is done by calling the kernel, and noted if it was. */
#define NOTED(type, call, descriptor, kind, offset, data, length)              \
    const char *name = name_of(descriptor);                                    \
    if (!*name) return (type)(call);                                           \
    pthread_mutex_lock(&turn);                                                 \
    type done = (type)(call);                                                  \
    if (done >= 0) note(kind, name, (uint64_t)(offset), data, (uint32_t)(length)); \
    pthread_mutex_unlock(&turn);                                               \
    return done;

ssize_t write(int descriptor, const void *data, size_t size) {
    off_t place = *name_of(descriptor) ? lseek(descriptor, 0, SEEK_CUR) : 0;
    NOTED(ssize_t, syscall(SYS_write, descriptor, data, size), descriptor, 'w', place, data, done)
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t place) {
    NOTED(ssize_t, syscall(SYS_pwrite64, descriptor, data, size, place), descriptor, 'w', place,
          data, done)
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t place) {
    return pwrite(descriptor, data, size, place);
}

int ftruncate(int descriptor, off_t size) {
    NOTED(int, syscall(SYS_ftruncate, descriptor, size), descriptor, 't', size, "", 0)
}

int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

int fsync(int descriptor) {
    NOTED(int, syscall(SYS_fsync, descriptor), descriptor, 's', 0, "", 0)
}

int fdatasync(int descriptor) {
    NOTED(int, syscall(SYS_fdatasync, descriptor), descriptor, 's', 0, "", 0)
}

int unlink(const char *path) {
    pthread_mutex_lock(&turn);
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (done == 0 && *name_in_folder(path)) note('u', name_in_folder(path), 0, "", 0);
    pthread_mutex_unlock(&turn);
    return done;
}
