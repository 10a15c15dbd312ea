/* SPDX-License-Identifier: Apache-2.0 */
/* mbox_spool: see mbox_spool.h. Owns the open file, the place in it, and a piece of it in memory. */
#include "mbox_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "crash.h"
#include "log.h"
#include "mbox.h"

#define POLL_MS 1000
#define PIECE ((size_t)1 << 20)
#define PIECE_MAX ((size_t)32 << 20) /* for a mail that is larger than a piece */
#define TOGETHER 64
#define UNREAD_MAX ((size_t)1 << 20) /* that is moved to the front */
#define PATIENCE 3		     /* looks that found something new, before it is */
#define LOCK_TRIES 50
#define LOCK_WAIT_MS 100
#define STALE_S 600 /* a lock file of somebody who has died */
#define BORDER 16   /* between two mails, may be cut in two */
#define CHECKED 64  /* bytes by which the file is known again */

struct spool {
	const char *path;
	char lock_path[PATH_MAX];
	struct mail_intake mail;
	int fd, lock_fd;
	off_t done;  /* committed up to here */
	off_t whole; /* mails are whole up to here: the size under a lock */
	unsigned looks;
	bool skips; /* the rest of a mail that is too large */
	bool has_no_folder;
	size_t piece;
	struct buf bytes;
	char head[CHECKED], tail[CHECKED];
	struct unit units[TOGETHER];
};

static enum pull_verdict
failed(const struct spool *s, struct err *err, const char *what)
{
	(void)err_set(err, "feedback.mbox: %s %.100s: %s", what, s->path, strerror(errno));
	return PULL_FAILED;
}

static void
forget(struct spool *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	s->done = s->whole = 0;
	s->looks = 0;
	s->skips = false;
}

/* ---- locks ------------------------------------------------------------------------------ */

/* A file of ours is locked by its owner while he lives, one of others is believed for a while. */
static void
remove_stale(const struct spool *s)
{
	int fd = open(s->lock_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char word[8] = "";
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		bool is_ours = read(fd, word, 6) == 6 && memcmp(word, "kairan", 6) == 0;

		if (is_ours ? flock(fd, LOCK_EX | LOCK_NB) == 0
			    : time(NULL) - st.st_mtim.tv_sec > STALE_S) {
			log_warn("mbox lock of a process that has died is removed");
			(void)unlink(s->lock_path);
		}
	}
	(void)close(fd);
}

/* 1: locked, or its folder is not ours to write to, and fcntl() has to do; 0: by somebody else; -1. */
static int
lock_file(struct spool *s)
{
	s->lock_fd = open(s->lock_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (s->lock_fd >= 0) {
		if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0 &&
		    write(s->lock_fd, "kairan\n", 7) == 7)
			return 1;
		(void)unlink(s->lock_path);
		(void)close(s->lock_fd);
		s->lock_fd = -1;
		return -1;
	}
	if (errno == EEXIST) {
		remove_stale(s);
		return 0;
	}
	if (errno != EACCES && errno != EPERM && errno != EROFS)
		return -1;
	if (!s->has_no_folder)
		log_warn("mbox is locked by fcntl alone: %s cannot be made: %s", s->lock_path,
		    strerror(errno));
	s->has_no_folder = true;
	return 1;
}

static void
unlock(struct spool *s)
{
	struct flock whole = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	(void)fcntl(s->fd, F_SETLK, &whole);
	if (s->lock_fd >= 0) {
		(void)unlink(s->lock_path);
		(void)close(s->lock_fd);
	}
	s->lock_fd = -1;
}

/* As MDAs do: the file first, so that nobody has the mbox open who waits for it. 1, 0 when somebody
 * else has it, -1 with errno. */
static int
try_lock(struct spool *s)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int status = lock_file(s), kept;

	if (status <= 0 || fcntl(s->fd, F_SETLK, &whole) == 0)
		return status;
	kept = errno;
	unlock(s);
	errno = kept;
	return errno == EACCES || errno == EAGAIN ? 0 : -1;
}

static enum pull_verdict
lock(struct spool *s, const struct pull *pull, struct err *err)
{
	static const struct timespec wait = { .tv_nsec = LOCK_WAIT_MS * 1000000L };

	for (int i = 0; i < LOCK_TRIES && !pull_is_stopping(pull); i++) {
		int status = try_lock(s);

		if (status > 0)
			return PULL_MORE;
		if (status < 0)
			return failed(s, err, "cannot lock");
		(void)nanosleep(&wait, NULL);
	}
	(void)err_set(err, "feedback.mbox: %.100s is locked by somebody else", s->path);
	return PULL_FAILED;
}

/* ---- the end of what was read ----------------------------------------------------------- */

static void
remember(struct spool *s)
{
	off_t from = s->done > CHECKED ? s->done - CHECKED : 0;

	memset(s->head, 0, CHECKED);
	memset(s->tail, 0, CHECKED);
	if (pread(s->fd, s->head, s->done < CHECKED ? (size_t)s->done : CHECKED, 0) < 0 ||
	    pread(s->fd, s->tail, (size_t)(s->done - from), from) < 0)
		s->done = 0; /* read anew */
}

/* Under the lock: what was read is still there. */
static bool
is_same(const struct spool *s)
{
	struct spool now = { .fd = s->fd, .done = s->done };

	if (s->done == 0)
		return true;
	remember(&now);
	return now.done == s->done && memcmp(now.head, s->head, CHECKED) == 0 &&
	    memcmp(now.tail, s->tail, CHECKED) == 0;
}

/* Under the lock. A crash in between leaves the unread mails twice, the first of them with a piece of another one
 * behind it. */
static bool
move_to_front(struct spool *s, size_t unread)
{
	buf_reset(&s->bytes);
	if (!buf_reserve(&s->bytes, unread) ||
	    pread(s->fd, s->bytes.data, unread, s->done) != (ssize_t)unread ||
	    pwrite(s->fd, s->bytes.data, unread, 0) != (ssize_t)unread)
		return false;
	CRASH_POINT("mbox_moved");
	return ftruncate(s->fd, (off_t)unread) == 0;
}

/* Under the lock. */
static enum pull_verdict
look(struct spool *s, struct err *err)
{
	struct stat named, open;

	if (fstat(s->fd, &open) < 0)
		return failed(s, err, "cannot read");
	if (stat(s->path, &named) < 0 || named.st_ino != open.st_ino ||
	    named.st_dev != open.st_dev) {
		s->done = s->whole = -1; /* another file by now */
		return PULL_MORE;
	}
	if (open.st_size < s->done || !is_same(s)) {
		log_warn("mbox was changed by somebody else, it is read anew");
		s->done = 0;
		s->skips = false;
	}
	s->whole = open.st_size;
	if (s->done == s->whole) {
		CRASH_POINT("mbox_before_truncation");
		if (s->whole > 0 && ftruncate(s->fd, 0) < 0)
			return failed(s, err, "cannot empty");
		s->done = s->whole = 0;
		return PULL_NOTHING;
	}
	if (s->done > 0 && ++s->looks > PATIENCE && (size_t)(s->whole - s->done) <= UNREAD_MAX) {
		if (!move_to_front(s, (size_t)(s->whole - s->done)))
			return failed(s, err, "cannot shorten");
		s->whole -= s->done;
		s->done = 0;
		s->looks = 0;
	}
	return PULL_MORE;
}

/* ---- mails ------------------------------------------------------------------------------ */

/* Bytes to the next mail behind one that was cut; all of the piece when there is none. */
static size_t
skip_rest(struct spool *s, struct slice piece, bool is_last)
{
	struct slice rest = piece;
	const char *at;

	while ((at = memmem(rest.ptr, rest.len, "\nFrom ", 6)) != NULL) {
		const char *before = at > piece.ptr && at[-1] == '\r' ? at - 1 : at;

		if (before > piece.ptr && before[-1] == '\n') {
			s->skips = false;
			return (size_t)(at + 1 - piece.ptr);
		}
		rest = slice_make(at + 1, (size_t)(piece.ptr + piece.len - at - 1));
	}
	return is_last || piece.len <= BORDER ? piece.len : piece.len - BORDER;
}

/* One mail of the piece. */
static void
take(struct spool *s, struct unit *unit, struct slice raw)
{
	struct mail_intake_mail in = { .raw = raw };

	unit_reset(unit);
	if (mail_intake_read(&s->mail, &in, &unit->arena, &unit->events) != 0)
		unit->result = UNIT_AGAIN;
}

/* Reads whole mails of the piece at the place; ends: where each of them does. Returns how many, 0 when not even
 * one is whole. */
static size_t
read_mails(struct spool *s, struct slice piece, bool is_last, off_t *ends)
{
	struct slice rest = piece, mail;
	size_t count = 0;

	while (count < TOGETHER && mbox_next(&rest, &mail)) {
		bool is_cut = rest.len == 0 && !is_last;

		if (is_cut && (count > 0 || s->piece < PIECE_MAX))
			break;
		take(s, &s->units[count], mail);
		ends[count++] = s->done + (off_t)(piece.len - rest.len) - (is_cut ? BORDER : 0);
		s->skips = is_cut;
	}
	return count;
}

static enum pull_verdict
commit(struct spool *s, struct pull *pull, size_t count, const off_t *ends)
{
	source_received(pull_source(pull), count);
	pull_commit(pull, s->units, count);
	for (size_t i = 0; i < count; i++) {
		if (s->units[i].result != UNIT_COMMITTED) {
			s->skips = false;
			remember(s);
			return PULL_NOTHING; /* from here again */
		}
		s->done = ends[i];
	}
	remember(s);
	return PULL_MORE;
}

static enum pull_verdict
read_piece(struct spool *s, struct pull *pull, struct err *err)
{
	size_t want = (size_t)(s->whole - s->done), count;
	off_t ends[TOGETHER];
	struct slice piece;
	bool is_last;
	ssize_t n;

	if (want > s->piece)
		want = s->piece;
	buf_reset(&s->bytes);
	if (!buf_reserve(&s->bytes, want)) {
		errno = ENOMEM;
		return failed(s, err, "cannot read");
	}
	n = pread(s->fd, s->bytes.data, want, s->done);
	if (n <= 0) {
		if (n == 0) /* shorter than it was */
			forget(s);
		return n == 0 ? PULL_MORE : failed(s, err, "cannot read");
	}
	piece = slice_make(s->bytes.data, (size_t)n);
	is_last = s->done + n == s->whole;
	if (s->skips) {
		s->done += (off_t)skip_rest(s, piece, is_last);
		s->skips = s->skips && s->done < s->whole;
		remember(s);
		return PULL_MORE;
	}
	if (!mbox_is(piece)) {
		(void)err_set(err,
		    "feedback.mbox: %.100s is no mbox: \"From \" is missing at byte %lld", s->path,
		    (long long)s->done);
		forget(s);
		return PULL_FAILED;
	}
	count = read_mails(s, piece, is_last, ends);
	if (count > 0) {
		s->piece = PIECE;
		return commit(s, pull, count, ends);
	}
	s->piece = s->piece * 2 < PIECE_MAX ? s->piece * 2 : PIECE_MAX;
	return PULL_MORE;
}

/* ---- one round -------------------------------------------------------------------------- */

static enum pull_verdict
open_spool(struct spool *s, struct err *err)
{
	struct stat st;

	s->fd = open(s->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0)
		return errno == ENOENT ? PULL_NOTHING : failed(s, err, "cannot open");
	if (fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		errno = EINVAL;
		forget(s);
		return failed(s, err, "is no file:");
	}
	if (st.st_size > 0)
		return PULL_MORE;
	forget(s);
	return PULL_NOTHING;
}

static enum pull_verdict
run_round(void *ctx, struct pull *pull, struct err *err)
{
	struct spool *s = ctx;
	enum pull_verdict verdict = s->fd < 0 ? open_spool(s, err) : PULL_MORE;

	if (verdict == PULL_MORE && s->done == s->whole) {
		verdict = lock(s, pull, err);
		if (verdict != PULL_MORE)
			return verdict;
		verdict = look(s, err);
		unlock(s);
		if (s->done < 0 || verdict == PULL_NOTHING)
			forget(s);
	} else if (verdict == PULL_MORE) {
		verdict = read_piece(s, pull, err);
	}
	source_lag(pull_source(pull), -1, -1, s->fd >= 0 ? (int64_t)(s->whole - s->done) : 0);
	return verdict;
}

static void
release(void *ctx)
{
	struct spool *s = ctx;

	forget(s);
	for (size_t i = 0; i < TOGETHER; i++)
		unit_release(&s->units[i]);
	buf_release(&s->bytes);
	free(s);
}

struct source *
mbox_spool_new(uv_loop_t *loop, const struct config *config, const struct mail_intake *mail,
    struct intake *intake, struct err *err)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	s->path = config->feedback_mbox;
	s->mail = *mail;
	s->fd = s->lock_fd = -1;
	s->piece = PIECE;
	buf_init(&s->bytes, PIECE_MAX + 1);
	for (size_t i = 0; i < TOGETHER; i++)
		unit_init(&s->units[i]);
	if (snprintf(s->lock_path, sizeof(s->lock_path), "%s.lock", s->path) >=
	    (int)sizeof(s->lock_path)) {
		(void)err_set(err, "feedback.mbox: the path is too long");
	} else if (mail->keep == NULL) {
		(void)err_set(err,
		    "feedback.mbox needs reply.maildir: the file is emptied, and what people wrote "
		    "must be kept somewhere");
	} else {
		log_info("mbox is followed path=%s", s->path);
		return pull_new(loop,
		    &(struct pull_config){ .name = "mbox",
			.ctx = s,
			.round = run_round,
			.release = release,
			.poll_ms = POLL_MS,
			.intake = intake },
		    err);
	}
	release(s);
	return NULL;
}
