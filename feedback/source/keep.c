/* SPDX-License-Identifier: Apache-2.0 */
/* keep: see keep.h. Owns nothing but paths. */
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sigv4.h"

#define NAME_BYTES 96
#define SEEN ":2,S" /* where Maildir keeps flags */

static int
make_folder(const char *path, const char *below, struct err *err)
{
	char whole[PATH_MAX];

	(void)snprintf(whole, sizeof(whole), "%s%s", path, below);
	if (mkdir(whole, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_set(err, "reply.maildir: cannot make %.300s: %s", whole, strerror(errno));
}

int
keep_init(struct keep *keep, const char *path, struct err *err)
{
	static const char *const below[] = { "", "/new", "/cur", "/tmp" };

	if (strlen(path) >= sizeof(keep->path))
		return err_set(err, "reply.maildir: the path is too long");
	(void)snprintf(keep->path, sizeof(keep->path), "%s", path);
	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++)
		if (make_folder(path, below[i], err) < 0)
			return -1;
	(void)snprintf(keep->path, sizeof(keep->path), "%s/new", path);
	if (access(keep->path, W_OK) < 0)
		return err_set(
		    err, "reply.maildir: cannot write to %.300s: %s", keep->path, strerror(errno));
	(void)snprintf(keep->path, sizeof(keep->path), "%s", path);
	return 0;
}

static int
write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		s = slice_make(s.ptr + n, s.len - (size_t)n);
	}
	return 0;
}

static int
sync_folder(const struct keep *keep, const char *below)
{
	char path[PATH_MAX];
	int fd, status;

	(void)snprintf(path, sizeof(path), "%s/%s", keep->path, below);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	status = fsync(fd);
	(void)close(fd);
	return status;
}

static bool
is_there(const struct keep *keep, const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/cur/%s" SEEN, keep->path, name);
	if (access(path, F_OK) == 0)
		return true;
	(void)snprintf(path, sizeof(path), "%s/new/%s", keep->path, name);
	return access(path, F_OK) == 0;
}

static bool
has_room(const struct keep *keep, size_t bytes)
{
	struct statvfs v;

	if (statvfs(keep->path, &v) < 0)
		return false;
	return (uint64_t)v.f_bavail * v.f_frsize >= (uint64_t)KEEP_FREE_MIN + bytes;
}

/* The file in tmp/ becomes one of new/, under its lasting name. */
static int
publish(const struct keep *keep, const char *from, const char *name)
{
	char to[PATH_MAX];

	(void)snprintf(to, sizeof(to), "%s/new/%s", keep->path, name);
	if (link(from, to) < 0 && errno != EEXIST)
		return -1;
	return sync_folder(keep, "new");
}

int
keep_mail(const struct keep *keep, struct slice trace, struct slice raw, struct err *err)
{
	char hash[SIGV4_HASH_BYTES], name[NAME_BYTES], from[PATH_MAX];
	int fd, result = 0;

	sigv4_hash(raw, hash);
	(void)snprintf(name, sizeof(name), "%.32s.kairan", hash);
	if (is_there(keep, name))
		return 0;
	if (!has_room(keep, trace.len + raw.len))
		return err_set(
		    err, "less than %zu MB are free below reply.maildir", KEEP_FREE_MIN >> 20);
	(void)snprintf(from, sizeof(from), "%s/tmp/%s.XXXXXX", keep->path, name);
	fd = mkostemp(from, O_CLOEXEC);
	if (fd < 0)
		return err_set(err, "reply.maildir: cannot make a file: %s", strerror(errno));
	if (write_all(fd, trace) < 0 || write_all(fd, raw) < 0 || fsync(fd) < 0 ||
	    publish(keep, from, name) < 0)
		result = err_set(err, "reply.maildir: cannot write a file: %s", strerror(errno));
	(void)close(fd);
	(void)unlink(from);
	return result;
}

int
keep_done(const struct keep *keep, const char *name, struct err *err)
{
	char from[PATH_MAX], to[PATH_MAX];

	(void)snprintf(from, sizeof(from), "%s/new/%s", keep->path, name);
	(void)snprintf(to, sizeof(to), "%s/cur/%s" SEEN, keep->path, name);
	if (rename(from, to) == 0 && sync_folder(keep, "cur") == 0)
		return 0;
	return err_set(err, "reply.maildir: cannot move a file to cur: %s", strerror(errno));
}
