// Counts the system calls by which a process writes below two folders, and makes one of them fail.
// Preloaded (LD_PRELOAD) into the process under test, which arms it when it likes.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE = 0, SHORT = -1, KILL_BEFORE = -2, KILL_AFTER = -3 };

static char folders[2][PATH_MAX];
static int armed, fault, lasting, trace = -1;
static long target;
static atomic_long count;

// From now on the call numbered `number` (from 0) fails with the errno `what`, or as NONE to
// KILL_AFTER say; with `on` every later one too. Calls are written to the descriptor `to`, unless
// it is -1, as lines "name path size", with the file's size before the call.
void faults_arm(const char* first, const char* second, long number, int what, int on, int to) {
  snprintf(folders[0], sizeof folders[0], "%s", first);
  snprintf(folders[1], sizeof folders[1], "%s", second);
  target = number;
  fault = what;
  lasting = on;
  trace = to;
  count = 0;
  armed = 1;
}

void faults_disarm(void) { armed = 0; }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char* path) {
  for (int i = 0; i < 2; i++) {
    size_t length = strlen(folders[i]);
    if (strncmp(path, folders[i], length) == 0 && (path[length] == '/' || path[length] == 0))
      return 1;
  }
  return 0;
}

// What befalls this call on an absolute path; NONE for calls elsewhere.
static int befall(const char* call, const char* path) {
  if (!armed || !is_below(path)) return NONE;
  long number = atomic_fetch_add(&count, 1);
  if (trace >= 0) {
    struct stat status;
    long long size = stat(path, &status) ? 0 : status.st_size;
    dprintf(trace, "%s %s %lld\n", call, path, size);
  }
  if (number != target && !(lasting && number > target)) return NONE;
  if (fault == KILL_BEFORE) kill(getpid(), SIGKILL);
  return fault;
}

static void path_of(int descriptor, char* path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
}

static int befall_file(const char* call, int descriptor) {
  if (!armed) return NONE;
  char path[PATH_MAX];
  path_of(descriptor, path);
  return befall(call, path);
}

static int befall_at(const char* call, int folder, const char* name) {
  if (!armed) return NONE;
  if (name[0] == '/' || folder == AT_FDCWD) return befall(call, name);
  char path[PATH_MAX], whole[2 * PATH_MAX];
  path_of(folder, path);
  snprintf(whole, sizeof whole, "%s/%s", path, name);
  return befall(call, whole);
}

// A call that fails, or is done by the expression `real`.
#define PASS(type, what, real)                         \
  do {                                                 \
    int struck = (what);                               \
    if (struck > 0) {                                  \
      errno = struck;                                  \
      return -1;                                       \
    }                                                  \
    type result = (real);                              \
    if (struck == KILL_AFTER) kill(getpid(), SIGKILL); \
    return result;                                     \
  } while (0)

#define OPEN(name)                                                                  \
  int name(const char* path, int flags, ...) {                                      \
    va_list rest;                                                                   \
    va_start(rest, flags);                                                          \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                       \
    va_end(rest);                                                                   \
    int writes = flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC);                   \
    PASS(int, writes ? befall("open", path) : NONE, REAL(name)(path, flags, mode)); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                              \
  int name(int folder, const char* path, int flags, ...) {        \
    va_list rest;                                                 \
    va_start(rest, flags);                                        \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;     \
    va_end(rest);                                                 \
    int writes = flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC); \
    PASS(int, writes ? befall_at("open", folder, path) : NONE,    \
         REAL(name)(folder, path, flags, mode));                  \
  }
OPENAT(openat)
OPENAT(openat64)

// A quarter of what is to be written, for SHORT.
#define SOME(befallen, n) ((befallen) == SHORT && (n) > 3 ? (n) / 4 : (n))

ssize_t write(int file, const void* data, size_t n) {
  int befallen = befall_file("write", file);
  PASS(ssize_t, befallen, REAL(write)(file, data, SOME(befallen, n)));
}

#define PWRITE(name, offset_type)                                               \
  ssize_t name(int file, const void* data, size_t n, offset_type offset) {      \
    int befallen = befall_file("pwrite", file);                                 \
    PASS(ssize_t, befallen, REAL(name)(file, data, SOME(befallen, n), offset)); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

// No power fails here, and to wait for the disk would take nearly all the time.
int fsync(int file) { PASS(int, befall_file("fsync", file), 0); }
int fdatasync(int file) { PASS(int, befall_file("fdatasync", file), 0); }

#define FTRUNCATE(name, offset_type)                                   \
  int name(int file, offset_type size) {                               \
    PASS(int, befall_file("ftruncate", file), REAL(name)(file, size)); \
  }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

int flock(int file, int how) { PASS(int, befall_file("flock", file), REAL(flock)(file, how)); }
int fchmod(int file, mode_t mode) {
  PASS(int, befall_file("fchmod", file), REAL(fchmod)(file, mode));
}
int fchown(int file, uid_t user, gid_t group) {
  PASS(int, befall_file("fchown", file), REAL(fchown)(file, user, group));
}
int chmod(const char* path, mode_t mode) {
  PASS(int, befall("chmod", path), REAL(chmod)(path, mode));
}
int mkdir(const char* path, mode_t mode) {
  PASS(int, befall("mkdir", path), REAL(mkdir)(path, mode));
}
int rmdir(const char* path) { PASS(int, befall("rmdir", path), REAL(rmdir)(path)); }
int unlink(const char* path) { PASS(int, befall("unlink", path), REAL(unlink)(path)); }
int unlinkat(int folder, const char* path, int flags) {
  PASS(int, befall_at("unlink", folder, path), REAL(unlinkat)(folder, path, flags));
}
int rename(const char* from, const char* to) {
  PASS(int, befall("rename", to), REAL(rename)(from, to));
}
int link(const char* from, const char* to) { PASS(int, befall("link", to), REAL(link)(from, to)); }
