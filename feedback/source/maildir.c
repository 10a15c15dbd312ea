/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maildir: see maildir.h. Owns the directory handles, the files at the intake, and a set of
 * names (by hash) that are left alone. A scan is one pass over new/; it stops when enough files
 * are under way and goes on when one is done, so a million files cost no memory.
 */
#include "maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "buf.h"
#include "crash.h"
#include "log.h"
#include "mail_intake.h"
#include "nameset.h"

#define MEASURED_MAX 1000
#define MEASURE_MS 1000 /* and what had no room before; a rescan each MAILDIR_RESCAN_S of them */
#define NAMES_TRIED 10	/* when cur/ has the name already */

struct file {
	struct file *previous, *next;
	struct maildir *maildir;
	struct arena arena;
	struct feedback_events events;
	struct intake_item item;
	char name[NAME_MAX + 1];
};

struct maildir {
	struct source source;
	struct maildir_config config;
	uv_fs_event_t *watch; /* freed by their close callbacks */
	uv_timer_t *timer;
	int new_fd, cur_fd;
	DIR *scan;     /* the pass under way, or NULL */
	bool is_dirty; /* something came since it began */
	unsigned looks;
	bool is_stopping;
	struct file *files; /* at the intake */
	size_t count;
	struct buf bytes;
	struct nameset left;
};

static void advance(struct maildir *md);

/* ---- names that are left alone ---------------------------------------------------------- */

static void
leave(struct maildir *md, const char *name, const char *what, const char *why)
{
	log_error("maildir file is left in new/ file=%s: cannot %s: %s", name, what, why);
	source_left(&md->source);
	nameset_add(&md->left, slice_str(name));
}

/* ---- one file --------------------------------------------------------------------------- */

static void
file_free(struct file *f)
{
	struct maildir *md = f->maildir;

	if (f->previous != NULL)
		f->previous->next = f->next;
	else
		md->files = f->next;
	if (f->next != NULL)
		f->next->previous = f->previous;
	md->count--;
	arena_release(&f->arena);
	free(f);
}

/* To cur/, never onto a file that is there. */
static void
move_to_cur(struct maildir *md, const char *name)
{
	const char *flags = strstr(name, ":2,") != NULL ? "" : ":2,S";
	char target[NAME_MAX + 32];
	int status = -1;

	CRASH_POINT("before_move");
	for (unsigned i = 0; i < NAMES_TRIED && status < 0; i++) {
		if (i == 0)
			(void)snprintf(target, sizeof(target), "%s%s", name, flags);
		else
			(void)snprintf(target, sizeof(target), "%s.%u%s", name, i, flags);
		status = renameat2(md->new_fd, name, md->cur_fd, target, RENAME_NOREPLACE);
		if (status < 0 && errno == EINVAL) /* a file system that cannot promise it */
			status = renameat(md->new_fd, name, md->cur_fd, target);
		if (status < 0 && errno != EEXIST)
			break;
	}
	CRASH_POINT("moved");
	if (status != 0 && errno != ENOENT) /* else somebody else moved it */
		leave(md, name, "move it to cur/", strerror(errno));
}

static void
on_done(struct intake_item *item, enum intake_result result)
{
	struct file *f = (struct file *)(void *)((char *)item - offsetof(struct file, item));
	struct maildir *md = f->maildir;

	if (result == INTAKE_COMMITTED)
		move_to_cur(md, f->name);
	file_free(f);
	advance(md);
}

/* At most INBOUND_SIZE_MAX bytes into md->bytes. 0, 1 when there is nothing to read (it has
 * gone, or is no file), or -1 with errno. */
static int
read_file(struct maildir *md, const char *name)
{
	int fd = openat(md->new_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;
	int result = -1, kept;

	if (fd < 0)
		return errno == ENOENT ? 1 : -1;
	buf_reset(&md->bytes);
	if (fstat(fd, &st) < 0)
		goto out;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		goto out;
	}
	while (md->bytes.len < INBOUND_SIZE_MAX) {
		size_t room = INBOUND_SIZE_MAX - md->bytes.len;

		if (room > (size_t)64 * 1024)
			room = (size_t)64 * 1024;
		if (!buf_reserve(&md->bytes, room)) {
			errno = ENOMEM;
			goto out;
		}
		n = read(fd, md->bytes.data + md->bytes.len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_commit(&md->bytes, (size_t)n);
	}
	result = n < 0 ? -1 : 0;
out:
	kept = errno;
	(void)close(fd);
	errno = kept;
	return result;
}

static struct file *
file_new(struct maildir *md, const char *name)
{
	struct file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->maildir = md;
	arena_init(&f->arena, MAIL_INTAKE_ARENA_MAX);
	memcpy(f->name, name, strlen(name) + 1);
	f->next = md->files;
	if (f->next != NULL)
		f->next->previous = f;
	md->files = f;
	md->count++;
	return f;
}

static bool
is_under_way(const struct maildir *md, const char *name)
{
	for (const struct file *f = md->files; f != NULL; f = f->next)
		if (strcmp(f->name, name) == 0)
			return true;
	return false;
}

static void
take_file(struct maildir *md, const char *name)
{
	struct mail_intake_mail in = { 0 };
	struct file *f;
	int status;

	if (name[0] == '.' || strlen(name) > NAME_MAX || is_under_way(md, name) ||
	    nameset_has(&md->left, slice_str(name)))
		return;
	status = read_file(md, name);
	if (status != 0) {
		if (status < 0)
			leave(md, name, "read it", strerror(errno));
		return;
	}
	in.raw = buf_slice(&md->bytes);
	f = file_new(md, name);
	if (f == NULL)
		return; /* the next scan meets it again */
	if (mail_intake_read(&md->config.mail, &in, &f->arena, &f->events) == 0) {
		f->item = (struct intake_item){ .events = f->events.items,
			.count = f->events.count,
			.bytes = f->arena.used_total + sizeof(*f),
			.done = on_done,
			.source = &md->source };
		source_received(&md->source, 1);
		if (intake_add(md->config.intake, &f->item))
			return;
	}
	file_free(f);
}

/* ---- scanning --------------------------------------------------------------------------- */

static bool
scan_begin(struct maildir *md)
{
	int fd = openat(md->new_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	md->scan = fd >= 0 ? fdopendir(fd) : NULL;
	if (md->scan == NULL) {
		log_error("maildir new/ cannot be read: %s", strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return false;
	}
	md->is_dirty = false;
	return true;
}

static void
scan_end(struct maildir *md)
{
	if (md->scan != NULL)
		(void)closedir(md->scan);
	md->scan = NULL;
}

/* Takes files as long as there is room for them. */
static void
advance(struct maildir *md)
{
	while (!md->is_stopping && md->count < MAILDIR_TOGETHER_MAX &&
	    intake_is_open(md->config.intake)) {
		struct dirent *entry;

		if (md->scan == NULL && (!md->is_dirty || !scan_begin(md)))
			return;
		entry = readdir(md->scan);
		if (entry == NULL) {
			scan_end(md); /* and again if something came meanwhile */
			continue;
		}
		take_file(md, entry->d_name);
	}
}

static void
on_change(uv_fs_event_t *watch, const char *name, int events, int status)
{
	struct maildir *md = watch->data;

	(void)name;
	(void)events;
	(void)status;
	md->is_dirty = true;
	advance(md);
}

/* What waits in new/ and since when, of MEASURED_MAX files at most. */
static void
measure(struct maildir *md)
{
	int fd = openat(md->new_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	int64_t count = 0, oldest_us = 0;
	const struct dirent *entry;
	struct stat st;

	while (dir != NULL && count < MEASURED_MAX && (entry = readdir(dir)) != NULL) {
		int64_t at_us;

		if (entry->d_name[0] == '.' || nameset_has(&md->left, slice_str(entry->d_name)) ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		at_us = (int64_t)st.st_ctim.tv_sec * 1000000 + st.st_ctim.tv_nsec / 1000;
		if (count++ == 0 || at_us < oldest_us)
			oldest_us = at_us;
	}
	if (dir != NULL)
		(void)closedir(dir);
	else if (fd >= 0)
		(void)close(fd);
	source_lag(&md->source, count, oldest_us, -1);
}

static void
on_look(uv_timer_t *timer)
{
	struct maildir *md = timer->data;

	measure(md);
	if (md->looks++ % MAILDIR_RESCAN_S == 0)
		md->is_dirty = true;
	advance(md);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static int
open_folders(struct maildir *md, char *path, size_t size, struct err *err)
{
	static const char *const names[] = { "cur", "new" };
	int *const fds[] = { &md->cur_fd, &md->new_fd };

	for (size_t i = 0; i < 2; i++) {
		int n = snprintf(path, size, "%s/%s", md->config.path, names[i]);

		if (n < 0 || (size_t)n >= size)
			return err_set(err, "feedback.maildir: the path is too long");
		*fds[i] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*fds[i] < 0)
			return err_set(
			    err, "feedback.maildir: cannot open %s: %s", path, strerror(errno));
	}
	return 0;
}

static void
stop(void *self)
{
	struct maildir *md = self;

	md->is_stopping = true;
}

static bool
is_idle(void *self)
{
	const struct maildir *md = self;

	return md->count == 0;
}

static void
maildir_free(void *self)
{
	struct maildir *md = self;

	md->is_stopping = true;
	scan_end(md);
	while (md->files != NULL)
		file_free(md->files);
	if (md->watch != NULL) {
		uv_close((uv_handle_t *)md->watch, free_handle);
		uv_close((uv_handle_t *)md->timer, free_handle);
	}
	if (md->new_fd >= 0)
		(void)close(md->new_fd);
	if (md->cur_fd >= 0)
		(void)close(md->cur_fd);
	buf_release(&md->bytes);
	source_release(&md->source);
	free(md);
}

static const struct source_kind maildir_kind = {
	.stop = stop, .is_idle = is_idle, .free = maildir_free
};

struct source *
maildir_new(uv_loop_t *loop, const struct maildir_config *config, struct err *err)
{
	struct maildir *md = calloc(1, sizeof(*md));
	char path[PATH_MAX];

	if (md == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	source_init(&md->source, "maildir", &maildir_kind, md);
	md->config = *config;
	md->new_fd = md->cur_fd = -1;
	buf_init(&md->bytes, INBOUND_SIZE_MAX + 1);
	if (open_folders(md, path, sizeof(path), err) < 0)
		goto fail;
	md->watch = calloc(1, sizeof(*md->watch));
	md->timer = calloc(1, sizeof(*md->timer));
	if (md->watch == NULL || md->timer == NULL || uv_fs_event_init(loop, md->watch) != 0) {
		free(md->watch);
		free(md->timer);
		md->watch = NULL;
		(void)err_set(err, "no memory");
		goto fail;
	}
	(void)uv_timer_init(loop, md->timer);
	md->watch->data = md->timer->data = md;
	md->is_dirty = true;
	if (uv_fs_event_start(md->watch, on_change, path, 0) != 0)
		log_warn("maildir cannot be watched, it is looked at every %d s", MAILDIR_RESCAN_S);
	(void)uv_timer_start(md->timer, on_look, 0, MEASURE_MS);
	log_info("maildir is watched path=%s", config->path);
	source_up(&md->source, true);
	return &md->source;
fail:
	maildir_free(md);
	return NULL;
}
