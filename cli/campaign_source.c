/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_source: see campaign_source.h. */
#include "campaign_source.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "template.h"

#define ARENA_MAX ((size_t)16 << 20)

/* Reads a whole regular file of at most max bytes. Takes fd. 0, or -1 with err. */
static int
read_regular(
    int fd, size_t max, const char *path, struct arena *arena, struct slice *out, struct err *err)
{
	struct stat st;
	size_t done = 0;
	char *data;
	int result = -1;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)err_set(err, "%.300s is not a regular file", path);
		goto out;
	}
	if (st.st_size > (off_t)max) {
		(void)err_set(err, "%.300s is larger than %zu kB", path, max >> 10);
		goto out;
	}
	data = arena_alloc(arena, (size_t)st.st_size + 1);
	if (data == NULL) {
		(void)err_set(err, "there is not enough memory for %.300s", path);
		goto out;
	}
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, data + done, (size_t)st.st_size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			(void)err_set(err, "cannot read %.300s: %s", path, strerror(errno));
			goto out;
		}
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*out = slice_make(data, done);
	result = 0;
out:
	(void)close(fd);
	return result;
}

static int
open_folder_of(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - path) + 1;

	if (n >= sizeof(folder)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(folder, path, n);
	folder[n] = '\0';
	return open(n == 0 ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Opens a plain relative path below folder without following a symbolic link anywhere. */
static int
open_below(int folder, const char *path)
{
	char part[256];
	int at = folder;

	for (;;) {
		const char *slash = strchr(path, '/');
		size_t n = slash != NULL ? (size_t)(slash - path) : strlen(path);
		int flags =
		    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (slash != NULL ? O_DIRECTORY : O_NONBLOCK);
		int next;

		if (n >= sizeof(part)) {
			next = -1;
			errno = ENAMETOOLONG;
		} else {
			memcpy(part, path, n);
			part[n] = '\0';
			next = openat(at, part, flags);
		}
		if (at != folder) {
			int saved = errno;
			(void)close(at);
			errno = saved;
		}
		if (next < 0 || slash == NULL)
			return next;
		at = next;
		path = slash + 1;
	}
}

/* The path was checked by the parser. "" gives the empty text. */
static int
read_template(struct campaign_source *s, int folder, const char *path, size_t line,
    struct slice *out, struct err *err)
{
	struct err why = { 0 };
	char at[600];
	int fd;

	if (path[0] == '\0')
		return 0;
	(void)campaign_source_at(s, line, at, sizeof(at));
	fd = open_below(folder, path);
	if (fd < 0)
		return err_set(err, "%.200s%.150s: %s", at, path,
		    errno == ELOOP ? "symbolic links are not followed"
			: errno == ENOTDIR
			? "not a folder on the way (symbolic links are not followed)"
			: strerror(errno));
	if (read_regular(fd, TEMPLATE_SOURCE_MAX, path, &s->arena, out, &why) != 0)
		return err_set(err, "%.150s%.240s", at, why.msg);
	if (out->len == 0)
		return err_set(err, "%.200s%.150s is empty", at, path);
	return 0;
}

static void
source_init(struct campaign_source *s)
{
	*s = (struct campaign_source){ .unsubscribe_base = "", .return_path_domain = "" };
	arena_init(&s->arena, ARENA_MAX);
}

int
campaign_source_read(struct campaign_source *s, const char *path, struct err *err)
{
	struct err why = { 0 };
	int fd, folder, result;

	source_init(s);
	s->path = path;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, "cannot open %.300s: %s", path, strerror(errno));
	if (read_regular(fd, CAMPAIGN_FILE_MAX, path, &s->arena, &s->source, err) != 0)
		return -1;
	if (campaign_file_parse(&s->file, s->source, &s->arena, &why) != 0) {
		if (why.offset == 0)
			return err_set(err, "%.150s: %.240s", path, why.msg);
		return err_set(err, "%.150s:%zu: %.220s", path, why.offset, why.msg);
	}
	folder = open_folder_of(path);
	if (folder < 0)
		return err_set(err, "cannot open the folder of %.300s: %s", path, strerror(errno));
	result = read_template(s, folder, s->file.html, s->file.html_line, &s->html, err);
	if (result == 0)
		result = read_template(s, folder, s->file.text, s->file.text_line, &s->text, err);
	(void)close(folder);
	return result;
}

/* {"X-Name": "value"}; anything else gives fewer headers. */
static bool
headers_from_json(struct campaign_source *s, const char *text)
{
	json_t *object = json_loads(text, 0, NULL);
	const char *name;
	json_t *value;
	bool ok = true;

	json_object_foreach(object, name, value)
	{
		struct campaign_header *h = &s->file.headers[s->file.header_count];

		if (!json_is_string(value) || s->file.header_count == CAMPAIGN_HEADERS_MAX)
			continue;
		h->name = arena_str(&s->arena, name);
		h->value = arena_str(&s->arena, json_string_value(value));
		ok = ok && h->name != NULL && h->value != NULL;
		s->file.header_count++;
	}
	json_decref(object);
	return ok;
}

int
campaign_source_fetch(struct campaign_source *s, struct db *db, const char *name)
{
	/* in the order of the members filled below */
	static const char sql[] =
	    "SELECT c.name, st.name, t.subject, c.from_name, c.from_address, c.reply_to, c.list, "
	    "c.segment, c.missing_field, c.bad_field, st.unsubscribe_base, st.return_path_domain, "
	    "t.html, t.body, c.headers "
	    "FROM kairan.campaign c JOIN kairan.stream st ON st.id = c.stream_id "
	    "JOIN kairan.template t ON t.id = c.template_id WHERE c.name = $1";
	const char **members[] = { &s->file.name, &s->file.stream, &s->file.subject,
		&s->file.from_name, &s->file.from_address, &s->file.reply_to, &s->file.list,
		&s->file.segment, &s->file.missing_field, &s->file.bad_field, &s->unsubscribe_base,
		&s->return_path_domain };
	const int count = (int)(sizeof(members) / sizeof(members[0]));
	PGresult *r;
	bool ok = true;

	source_init(s);
	r = db_query(db, sql, 1, &name);
	if (r == NULL)
		return -1;
	if (PQntuples(r) == 0) {
		PQclear(r);
		return 0;
	}
	for (int i = 0; i < count; i++) {
		*members[i] = arena_str(&s->arena, db_text(r, 0, i));
		ok = ok && *members[i] != NULL;
	}
	s->html = arena_copy(&s->arena, slice_str(db_text(r, 0, count)));
	s->text = arena_copy(&s->arena, slice_str(db_text(r, 0, count + 1)));
	ok = ok && s->html.ptr != NULL && s->text.ptr != NULL &&
	    headers_from_json(s, db_text(r, 0, count + 2));
	PQclear(r);
	if (!ok) {
		(void)snprintf(db->error, sizeof(db->error), "there is not enough memory");
		return -1;
	}
	return 1;
}

void
campaign_source_release(struct campaign_source *s)
{
	arena_release(&s->arena);
	*s = (struct campaign_source){ 0 };
}

const char *
campaign_source_at(const struct campaign_source *s, size_t line, char *dst, size_t size)
{
	dst[0] = '\0';
	if (s->path != NULL && line > 0)
		(void)snprintf(dst, size, "%s:%zu: ", s->path, line);
	else if (s->path != NULL)
		(void)snprintf(dst, size, "%s: ", s->path);
	return dst;
}
