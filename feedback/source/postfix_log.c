/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postfix_log: see postfix_log.h. Everything runs in the thread of its pull. Owns the open log,
 * the place in it, and a table from queue ids to tokens. The table is a cache: Postfix names the
 * sender again whenever it tries a queued mail again.
 */
#include "postfix_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "log.h"
#include "postfix_line.h"
#include "verdict.h"

#define POLL_MS 500
#define CHUNK ((size_t)256 * 1024)
#define BACK_BYTES ((off_t)4 * 1024 * 1024) /* read again after a start, for queue ids */
#define SLOTS 65536			    /* a power of two */
#define PROBES 16

struct slot {
	char queue_id[POSTFIX_QUEUE_ID_MAX + 1]; /* "": free */
	uint32_t age;
	struct token token;
};

struct postfix_log {
	const struct config *config;
	const struct token_keys *keys;
	int fd;	      /* -1: not open */
	dev_t device; /* of the open file */
	ino_t inode;
	off_t offset;	/* of the next byte to read */
	off_t heard;	/* what is before it has been committed */
	char *chunk;	/* CHUNK bytes */
	bool in_long;	/* behind the beginning of a line without end */
	bool is_missed; /* said that the log is not there */
	struct slot *slots;
	uint32_t age;
	struct unit unit;
};

/* ---- queue ids -------------------------------------------------------------------------- */

static size_t
hash_of(struct slice id)
{
	uint64_t h = hash_slice(HASH_START, id);

	return (size_t)(h ^ (h >> 29)) & (SLOTS - 1);
}

static struct slot *
find(const struct postfix_log *p, struct slice id)
{
	size_t first = hash_of(id);

	for (size_t i = 0; i < PROBES; i++) {
		struct slot *slot = &p->slots[(first + i) & (SLOTS - 1)];

		if (slice_equal(slice_str(slot->queue_id), id))
			return slot;
	}
	return NULL;
}

/* A place of its own, else that of the oldest near it. */
static void
remember(struct postfix_log *p, struct slice id, struct token token)
{
	struct slot *slot = find(p, id);
	size_t first = hash_of(id);

	for (size_t i = 0; slot == NULL && i < PROBES; i++) {
		struct slot *s = &p->slots[(first + i) & (SLOTS - 1)];

		if (s->queue_id[0] == '\0')
			slot = s;
	}
	if (slot == NULL) {
		slot = &p->slots[first];
		for (size_t i = 1; i < PROBES; i++) {
			struct slot *s = &p->slots[(first + i) & (SLOTS - 1)];

			if (p->age - s->age > p->age - slot->age)
				slot = s;
		}
	}
	memcpy(slot->queue_id, id.ptr, id.len);
	slot->queue_id[id.len] = '\0';
	slot->token = token;
	slot->age = ++p->age;
}

static void
learn(struct postfix_log *p, const struct postfix_line *line)
{
	struct slice domain = slice_str(p->config->feedback_domain), left;
	const char *at;
	struct token token;

	if (line->kind == POSTFIX_FROM) {
		if (feedback_verp_verify(p->keys, TOKEN_BOUNCE, line->address, domain, &token))
			remember(p, line->queue_id, token);
		return;
	}
	at = line->message_id.len > 0 ? memchr(line->message_id.ptr, '@', line->message_id.len)
				      : NULL;
	left =
	    slice_make(line->message_id.ptr, at != NULL ? (size_t)(at - line->message_id.ptr) : 0);
	if (token_verify(p->keys, TOKEN_MESSAGE, left, &token))
		remember(p, line->queue_id, token);
}

/* ---- one line --------------------------------------------------------------------------- */

/* Hosts that only pass mail on prove no delivery. */
static bool
is_forwarder(const char *list, struct slice relay)
{
	size_t n = 0;

	while (n < relay.len && relay.ptr[n] != '[' && relay.ptr[n] != ':')
		n++;
	relay.len = n;
	while (*list != '\0') {
		size_t len = strcspn(list, ", \t");

		if (len > 0 && slice_equal_nocase(slice_make(list, len), relay))
			return true;
		list += len + strspn(list + len, ", \t");
	}
	return false;
}

static void
judge(const struct postfix_log *p, const struct postfix_line *line, struct feedback_event *e)
{
	switch (line->status) {
	case POSTFIX_SENT:
		e->kind = is_forwarder(p->config->postfix_log_forwarders, line->relay)
		    ? OUTCOME_ACCEPTED
		    : OUTCOME_DELIVERED;
		e->reason = e->kind == OUTCOME_ACCEPTED ? "accepted" : "delivered";
		break;
	case POSTFIX_DEFERRED:
		e->kind = OUTCOME_DELAYED;
		e->cls = OUTCOME_SOFT;
		e->reason = "delayed";
		break;
	case POSTFIX_EXPIRED:
		e->kind = OUTCOME_BOUNCED;
		e->cls = OUTCOME_SOFT;
		e->reason = "expired";
		break;
	case POSTFIX_BOUNCED:
	case POSTFIX_STATUS_NONE:
	default:
		e->kind = OUTCOME_BOUNCED;
		verdict_judge(e);
		break;
	}
}

static const char *
status_word(enum postfix_status status)
{
	static const char *const words[] = { "none", "sent", "deferred", "bounced", "expired" };

	return words[status];
}

/* False without memory, or when the list is full. */
static bool
add_event(struct postfix_log *p, const struct postfix_line *line, const struct token *token)
{
	struct arena *arena = &p->unit.arena;
	struct feedback_event *e;
	char who[64];
	struct slice parts[] = { SLICE("postfix"), line->queue_id, line->time,
		slice_str(status_word(line->status)), { who, 0 } };
	const struct feedback_pair pairs[] = { { "queue_id", line->queue_id },
		{ "relay", line->relay }, { "status", parts[3] }, { "text", line->text } };

	if (p->unit.events.count == FEEDBACK_EVENTS_MAX)
		return false;
	parts[4].len =
	    (size_t)snprintf(who, sizeof(who), "%" PRIu32 ".%" PRIu32, token->run, token->send);
	e = feedback_event_add(&p->unit.events, arena);
	if (e == NULL)
		return false;
	e->source = "postfix";
	e->linked = true;
	e->token = *token;
	e->code = line->code;
	memcpy(e->enhanced, line->enhanced, sizeof(e->enhanced));
	e->text = feedback_text(arena, line->text, OUTCOME_TEXT_MAX);
	e->remote = feedback_text(arena, line->relay, 255);
	if (line->status != POSTFIX_EXPIRED)
		e->address = feedback_text(arena, line->address, FEEDBACK_ADDRESS_MAX);
	e->key = feedback_key(arena, parts, 5);
	e->occurred_at_us = postfix_line_time(line->time, (int64_t)time(NULL));
	e->detail = feedback_detail(arena, pairs, sizeof(pairs) / sizeof(pairs[0]));
	judge(p, line, e);
	return e->key.len > 0;
}

/* False when the line has no room in this batch. */
static bool
read_line(struct postfix_log *p, struct slice text, off_t begin)
{
	struct postfix_line line;
	struct slot *slot;

	if (!postfix_line_parse(&line, text))
		return true;
	slot = find(p, line.queue_id);
	switch (line.kind) {
	case POSTFIX_FROM:
	case POSTFIX_MESSAGE_ID:
		learn(p, &line);
		break;
	case POSTFIX_REMOVED:
		/* kept: a batch that must be read again needs it; the table forgets by age */
		break;
	case POSTFIX_STATUS:
		if (slot != NULL && begin >= p->heard)
			return add_event(p, &line, &slot->token);
		break;
	case POSTFIX_OTHER:
	default:
		break;
	}
	return true;
}

/* ---- the file --------------------------------------------------------------------------- */

static void
close_log(struct postfix_log *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	p->in_long = false;
}

static int
save_place(const struct postfix_log *p, struct err *err)
{
	const char *path = p->config->postfix_log_state_file;
	char new[PATH_MAX];
	FILE *file;
	bool good;

	if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new))
		return err_set(err, "postfix_log.state_file: the path is too long");
	file = fopen(new, "we");
	if (file == NULL)
		return err_set(
		    err, "postfix_log.state_file: cannot write %s: %s", new, strerror(errno));
	good = fprintf(file, "%ju %ju %jd\n", (uintmax_t)p->device, (uintmax_t)p->inode,
		   (intmax_t)p->heard) > 0;
	good = fclose(file) == 0 && good;
	if (good && rename(new, path) == 0)
		return 0;
	return err_set(err, "postfix_log.state_file: cannot write %s: %s", path, strerror(errno));
}

/* False when there is none, or none that can be read. */
static bool
load_place(struct postfix_log *p)
{
	FILE *file = fopen(p->config->postfix_log_state_file, "re");
	uintmax_t device, inode;
	intmax_t heard;
	bool good;

	if (file == NULL)
		return false;
	good = fscanf(file, "%ju %ju %jd", &device, &inode, &heard) == 3 && heard >= 0;
	(void)fclose(file);
	if (!good)
		return false;
	p->device = (dev_t)device;
	p->inode = (ino_t)inode;
	p->heard = (off_t)heard;
	return true;
}

static bool
is_it(const struct postfix_log *p, const struct stat *st)
{
	return st->st_dev == p->device && st->st_ino == p->inode && S_ISREG(st->st_mode);
}

/* The log of the kept place under another name in the same folder: it was renamed. */
static int
open_renamed(const struct postfix_log *p)
{
	char path[PATH_MAX], *folder;
	struct dirent *entry;
	struct stat st;
	int fd = -1;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s", p->config->postfix_log_file);
	folder = dirname(path);
	dir = opendir(folder);
	while (dir != NULL && fd < 0 && (entry = readdir(dir)) != NULL)
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    is_it(p, &st))
			fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
	if (dir != NULL)
		(void)closedir(dir);
	return fd;
}

/* Opens what the configuration names, from its beginning. 0, 1 when it is not there, -1. */
static int
open_current(struct postfix_log *p, struct err *err)
{
	struct stat st;
	int fd = open(p->config->postfix_log_file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)err_set(err, "postfix_log.file: cannot read %s: %s",
		    p->config->postfix_log_file, fd < 0 ? strerror(errno) : "it is no file");
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	p->fd = fd;
	p->device = st.st_dev;
	p->inode = st.st_ino;
	p->offset = p->heard = 0;
	return 0;
}

/* At the start: goes on at the kept place, reading a little before it for its queue ids. */
static int
open_first(struct postfix_log *p, struct err *err)
{
	struct postfix_log kept = *p;
	struct stat st;
	int status;

	if (!load_place(&kept))
		return open_current(p, err);
	kept.fd = open_renamed(&kept);
	if (kept.fd < 0) {
		status = open_current(p, err);
		if (status == 0)
			log_warn("postfix log was replaced while nobody followed it: what it said "
				 "in between is lost");
		return status;
	}
	*p = kept;
	if (fstat(p->fd, &st) == 0 && st.st_size < p->heard)
		p->heard = 0; /* truncated meanwhile */
	p->offset = p->heard > BACK_BYTES ? p->heard - BACK_BYTES : 0;
	return 0;
}

/* At the end of the open file: is it still the log? Opens the next one when not. */
static void
look_for_rotation(struct postfix_log *p)
{
	struct stat named, open;

	if (fstat(p->fd, &open) == 0 && open.st_size < p->offset) {
		log_info("postfix log was truncated, reading it from its beginning");
		p->offset = p->heard = 0;
		p->in_long = false;
		return;
	}
	if (stat(p->config->postfix_log_file, &named) < 0 || is_it(p, &named))
		return;
	if (open.st_size > p->offset)
		return; /* something came in between: that first */
	log_info("postfix log was rotated, following the new one");
	close_log(p);
}

/* ---- one round -------------------------------------------------------------------------- */

/* Reads whole lines of the chunk. Returns how many bytes are done with. */
static size_t
read_chunk(struct postfix_log *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		const char *begin = p->chunk + done;
		const char *end = memchr(begin, '\n', n - done);
		size_t len = end != NULL ? (size_t)(end - begin) : n - done;

		if (end == NULL && done == 0 && n == CHUNK) {
			p->in_long = true; /* no line of Postfix is as long as this */
			return n;
		}
		if (end == NULL)
			break;
		if (!p->in_long && !read_line(p, slice_make(begin, len), p->offset + (off_t)done))
			break;
		p->in_long = false;
		done += len + 1;
	}
	return done;
}

/* Of the open file; one that follows it is not looked at. */
static void
tell_lag(const struct postfix_log *p, struct pull *pull)
{
	struct stat st;

	if (p->fd >= 0 && fstat(p->fd, &st) == 0)
		source_lag(pull_source(pull), -1, -1,
		    st.st_size > p->heard ? (int64_t)(st.st_size - p->heard) : 0);
}

static enum pull_verdict
commit_place(struct postfix_log *p, struct pull *pull, size_t done, struct err *err)
{
	size_t events = p->unit.events.count;

	tell_lag(p, pull);
	if (events > 0) {
		source_received(pull_source(pull), events);
		p->unit.notices = events;
		p->unit.result = UNIT_OPEN;
		pull_commit(pull, &p->unit, 1);
		if (p->unit.result != UNIT_COMMITTED)
			return PULL_NOTHING; /* the same lines again */
	}
	p->offset += (off_t)done;
	if (p->offset > p->heard) {
		p->heard = p->offset;
		if (save_place(p, err) < 0)
			return PULL_FAILED;
	}
	return PULL_MORE;
}

static enum pull_verdict
run_round(void *ctx, struct pull *pull, struct err *err)
{
	struct postfix_log *p = ctx;
	ssize_t n;
	size_t done;

	if (p->fd < 0) {
		int status = p->inode == 0 ? open_first(p, err) : open_current(p, err);

		if (status < 0)
			return PULL_FAILED;
		if (status > 0 && !p->is_missed)
			log_warn(
			    "postfix log is not there yet path=%s", p->config->postfix_log_file);
		p->is_missed = status > 0;
		if (status > 0)
			return PULL_NOTHING;
	}
	n = pread(p->fd, p->chunk, CHUNK, p->offset);
	if (n < 0) {
		(void)err_set(err, "postfix_log.file: cannot read it: %s", strerror(errno));
		return PULL_FAILED;
	}
	unit_reset(&p->unit);
	done = read_chunk(p, (size_t)n);
	if (done > 0)
		return commit_place(p, pull, done, err);
	look_for_rotation(p);
	tell_lag(p, pull);
	return p->fd < 0 ? PULL_MORE : PULL_NOTHING;
}

static void
release(void *ctx)
{
	struct postfix_log *p = ctx;

	close_log(p);
	unit_release(&p->unit);
	free(p->slots);
	free(p->chunk);
	free(p);
}

struct source *
postfix_log_new(uv_loop_t *loop, const struct config *config, const struct token_keys *keys,
    struct intake *intake, struct err *err)
{
	struct postfix_log *p = calloc(1, sizeof(*p));
	char folder[PATH_MAX];

	if (p == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	p->config = config;
	p->keys = keys;
	p->fd = -1;
	unit_init(&p->unit);
	p->chunk = malloc(CHUNK);
	p->slots = calloc(SLOTS, sizeof(*p->slots));
	(void)snprintf(folder, sizeof(folder), "%s", config->postfix_log_state_file);
	if (p->chunk == NULL || p->slots == NULL) {
		(void)err_set(err, "no memory");
	} else if (access(dirname(folder), W_OK) < 0) {
		(void)err_set(err, "postfix_log.state_file: its folder cannot be written to: %s",
		    strerror(errno));
	} else {
		log_info("postfix log is followed path=%s", config->postfix_log_file);
		return pull_new(loop,
		    &(struct pull_config){ .name = "postfix_log",
			.ctx = p,
			.round = run_round,
			.release = release,
			.poll_ms = POLL_MS,
			.intake = intake },
		    err);
	}
	release(p);
	return NULL;
}
