/* SPDX-License-Identifier: Apache-2.0 */
/* secret: see secret.h. */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
read_open(const char *what, const char *path, int fd, char *dst, size_t size, size_t *len,
    struct err *err)
{
	struct stat st;
	ssize_t n;

	*len = 0;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, "%s %s is not a regular file", what, path);
	if (!secret_is_private(path, st.st_mode))
		return err_set(
		    err, "%s %s can be read by others; run: chmod 600 %s", what, path, path);
	while ((n = read(fd, dst + *len, size - *len)) > 0)
		if ((*len += (size_t)n) == size)
			return err_set(err, "%s %s is larger than %zu bytes", what, path, size - 1);
	if (n < 0)
		return err_set(err, "%s %s cannot be read: %s", what, path, strerror(errno));
	dst[*len] = '\0';
	return 0;
}

bool
secret_is_private(const char *path, mode_t mode)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	size_t n = folder != NULL ? strlen(folder) : 0;
	bool is_credential = n > 1 && strncmp(path, folder, n) == 0 && path[n] == '/' &&
	    strstr(path + n, "..") == NULL;

	return (mode & (is_credential ? 037 : 077)) == 0;
}

int
secret_read(
    const char *what, const char *path, char *dst, size_t size, size_t *len, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), result, saved;

	if (fd < 0) {
		saved = errno;
		(void)err_set(err, "cannot open %s %s: %s", what, path, strerror(saved));
		errno = saved;
		return -1;
	}
	result = read_open(what, path, fd, dst, size, len, err);
	close(fd);
	if (result < 0) {
		OPENSSL_cleanse(dst, size);
		errno = 0;
	}
	return result;
}

/* A name that was made or renamed is on disk only when its folder is. */
static void
sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	int fd;

	(void)snprintf(folder, sizeof(folder), "%.*s",
	    slash == NULL ? 1 : (int)(slash == path ? 1 : slash - path),
	    slash == NULL ? "." : path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

static int
write_all(const char *what, const char *path, int fd, struct slice text, struct err *err)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0)
			return err_set(err, "cannot write %s %s: %s", what, path, strerror(errno));
		text.ptr += n;
		text.len -= (size_t)n;
	}
	if (fsync(fd) < 0)
		return err_set(err, "cannot write %s %s: %s", what, path, strerror(errno));
	return 0;
}

int
secret_create(const char *what, const char *path, struct slice text, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), result;
	int saved = errno;

	if (fd < 0) {
		(void)err_set(err, "cannot make %s %s: %s", what, path, strerror(saved));
		errno = saved;
		return -1;
	}
	result = write_all(what, path, fd, text, err);
	if (close(fd) < 0 && result == 0)
		result = err_set(err, "cannot write %s %s: %s", what, path, strerror(errno));
	if (result < 0)
		(void)unlink(path);
	else
		sync_folder(path);
	errno = 0;
	return result;
}

int
secret_replace(const char *what, const char *path, struct slice text, struct err *err)
{
	char next[PATH_MAX];
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(err, "cannot look at %s %s: %s", what, path, strerror(errno));
	if (snprintf(next, sizeof(next), "%s.new", path) >= (int)sizeof(next))
		return err_set(err, "%s: the path is too long", what);
	if (secret_create(what, next, text, err) < 0) {
		if (errno == EEXIST)
			(void)err_set(err,
			    "%s is there: somebody else is changing the %s, or was interrupted; "
			    "remove it when nobody is",
			    next, what);
		return -1;
	}
	if ((geteuid() == 0 && chown(next, st.st_uid, st.st_gid) < 0) || rename(next, path) < 0) {
		(void)err_set(err, "cannot replace %s %s: %s", what, path, strerror(errno));
		(void)unlink(next);
		return -1;
	}
	sync_folder(path);
	return 0;
}
