/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faulty_io: preloaded into a program, makes system calls and the allocator fail by a seed.
 *
 *   cc -shared -fPIC -o faulty_io.so tests/support/faulty_io.c
 *   FAULTY=RULE,RULE… FAULTY_SEED=1 FAULTY_WHEN=FILE LD_PRELOAD=./faulty_io.so PROGRAM
 *
 * RULE is WHAT:HOW:PER_MILLE. WHAT: send, recv (sockets), disk (writing to files), sync (fsync,
 * fdatasync, msync), room (posix_fallocate, ftruncate), socket (socket, accept), alloc (malloc,
 * calloc, realloc). HOW: an errno's name, or "short" for send, recv and disk: at most one byte in
 * three. CLOCK:SECONDS: is added to the time of day. Faults act only while FILE exists, if it is
 * named. FAULTY_COUNT=FILE: a byte is appended for each fault.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum what { SEND, RECV, DISK, SYNC, ROOM, SOCKET, ALLOC, WHATS };

static const char *const what_names[WHATS] = { "send", "recv", "disk", "sync", "room", "socket",
	"alloc" };
static const struct {
	const char *name;
	int number;
} errors[] = { { "ENOSPC", ENOSPC }, { "EIO", EIO }, { "EINTR", EINTR }, { "EAGAIN", EAGAIN },
	{ "EMFILE", EMFILE }, { "ENOMEM", ENOMEM }, { "ECONNRESET", ECONNRESET },
	{ "EPIPE", EPIPE }, { "EROFS", EROFS }, { "short", -1 } };

static struct {
	int how;	    /* errno, -1: short, 0: none */
	unsigned per_mille; /* of the calls */
} rules[WHATS];
static long long clock_shift;
static unsigned long long seed;
static const char *when, *count;
static bool begun;

/* No allocation here: malloc asks. */
static void
begin(void)
{
	const char *at = getenv("FAULTY"), *number = getenv("FAULTY_SEED");

	begun = true;
	when = getenv("FAULTY_WHEN");
	count = getenv("FAULTY_COUNT");
	seed = (number != NULL ? strtoull(number, NULL, 10) : 1) * 2654435769U + 1;
	while (at != NULL && *at != '\0') {
		size_t n = strcspn(at, ":");
		const char *how = at[n] == ':' ? at + n + 1 : at + n;
		size_t m = strcspn(how, ":,");

		if (n == 5 && memcmp(at, "CLOCK", 5) == 0)
			clock_shift = strtoll(how, NULL, 10);
		for (size_t i = 0; i < WHATS; i++) {
			if (strlen(what_names[i]) != n || memcmp(what_names[i], at, n) != 0)
				continue;
			for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++)
				if (strlen(errors[k].name) == m &&
				    memcmp(errors[k].name, how, m) == 0)
					rules[i].how = errors[k].number;
			rules[i].per_mille =
			    how[m] == ':' ? (unsigned)strtoul(how + m + 1, NULL, 10) : 0;
		}
		at += strcspn(at, ",");
		at += *at == ',';
	}
}

static bool
is_on(void)
{
	return when == NULL || syscall(SYS_faccessat, AT_FDCWD, when, F_OK) == 0;
}

/* 0: goes on as usual; else what shall happen, errno is set unless it is -1. */
static int
fault(enum what what)
{
	int kept = errno;

	if (!begun)
		begin();
	if (rules[what].how == 0 || rules[what].per_mille == 0)
		return 0;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	if (seed % 1000 >= rules[what].per_mille || !is_on()) {
		errno = kept;
		return 0;
	}
	if (count != NULL) {
		int fd = (int)syscall(
		    SYS_openat, AT_FDCWD, count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

		(void)!syscall(SYS_write, fd, "x", 1);
		(void)syscall(SYS_close, fd);
	}
	errno = rules[what].how > 0 ? rules[what].how : kept;
	return rules[what].how;
}

static bool
is_socket(int fd, bool *is_file)
{
	struct stat st;
	int kept = errno;
	bool known = fstat(fd, &st) == 0;

	errno = kept;
	*is_file = known && S_ISREG(st.st_mode);
	return known && S_ISSOCK(st.st_mode);
}

static enum what
of(int fd, enum what of_socket)
{
	bool is_file;

	if (is_socket(fd, &is_file))
		return of_socket;
	return is_file && of_socket == SEND ? DISK : WHATS;
}

#define REAL(type, name, ...)                                                                      \
	static type (*real)(__VA_ARGS__);                                                          \
	if (real == NULL)                                                                          \
	*(void **)&real = dlsym(RTLD_NEXT, #name)

static size_t
less(size_t n)
{
	return n > 3 ? n / 3 : n > 0;
}

#define BYTES(name, of_socket, buffer)                                                             \
	ssize_t name(int fd, buffer b, size_t n)                                                   \
	{                                                                                          \
		enum what what = of(fd, of_socket);                                                \
		int f = what != WHATS ? fault(what) : 0;                                           \
		REAL(ssize_t, name, int, buffer, size_t);                                          \
		return f > 0 ? -1 : real(fd, b, f < 0 ? less(n) : n);                              \
	}
#define FLAGGED(name, what, buffer)                                                                \
	ssize_t name(int fd, buffer b, size_t n, int flags)                                        \
	{                                                                                          \
		int f = fault(what);                                                               \
		REAL(ssize_t, name, int, buffer, size_t, int);                                     \
		return f > 0 ? -1 : real(fd, b, f < 0 ? less(n) : n, flags);                       \
	}
BYTES(write, SEND, const void *)
BYTES(read, RECV, void *)
FLAGGED(send, SEND, const void *)
FLAGGED(recv, RECV, void *)

ssize_t
writev(int fd, const struct iovec *v, int n)
{
	enum what what = of(fd, SEND);
	int f = what != WHATS ? fault(what) : 0;
	REAL(ssize_t, writev, int, const struct iovec *, int);

	if (f < 0 && n > 0) {
		struct iovec part = { v[0].iov_base, less(v[0].iov_len) };

		return real(fd, &part, 1);
	}
	return f > 0 ? -1 : real(fd, v, n);
}

ssize_t
sendmsg(int fd, const struct msghdr *m, int flags)
{
	int f = fault(SEND);
	REAL(ssize_t, sendmsg, int, const struct msghdr *, int);

	return f > 0 ? -1 : real(fd, m, flags);
}

#define NUMBERED(type, name, what, params, ...)                                                    \
	type name params                                                                           \
	{                                                                                          \
		int f = fault(what);                                                               \
		static type(*real) params;                                                         \
		if (real == NULL)                                                                  \
			*(void **)&real = dlsym(RTLD_NEXT, #name);                                 \
		return f > 0 ? -1 : real(__VA_ARGS__);                                             \
	}
NUMBERED(int, fsync, SYNC, (int fd), fd)
NUMBERED(int, fdatasync, SYNC, (int fd), fd)
NUMBERED(int, msync, SYNC, (void *at, size_t n, int flags), at, n, flags)
NUMBERED(int, ftruncate, ROOM, (int fd, off_t n), fd, n)
NUMBERED(int, socket, SOCKET, (int domain, int type, int protocol), domain, type, protocol)
NUMBERED(
    int, accept4, SOCKET, (int fd, struct sockaddr *a, socklen_t *n, int flags), fd, a, n, flags)

#define FALLOCATE(name)                                                                            \
	int name(int fd, off_t at, off_t n)                                                        \
	{                                                                                          \
		int f = fault(ROOM);                                                               \
		REAL(int, name, int, off_t, off_t);                                                \
		return f > 0 ? f : real(fd, at, n);                                                \
	}
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int result = (int)syscall(SYS_clock_gettime, id, t);

	if (!begun)
		begin();
	if (clock_shift != 0 && id == CLOCK_REALTIME && is_on())
		t->tv_sec += (time_t)clock_shift;
	return result;
}

time_t
time(time_t *out)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (out != NULL)
		*out = t.tv_sec;
	return t.tv_sec;
}

#ifdef FAULTY_ALLOC /* not beside a sanitizer, which has an allocator of its own */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

void *
malloc(size_t n)
{
	return fault(ALLOC) > 0 ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	return fault(ALLOC) > 0 ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
	return fault(ALLOC) > 0 ? NULL : __libc_realloc(p, n);
}
#endif
