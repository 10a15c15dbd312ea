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

#include "buf.h"
#include "ses_template.h"
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

/* ---------------------------------------------------------------- partials */

/* One part while its partials are gathered. */
struct gather {
	struct campaign_source *s;
	int folder;
	const char *path; /* of the template */
	const char *ending;
	struct campaign_pieces *pieces;
	struct buf text;
};

static bool
partial_name_ok(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || strchr("\"'{}\\", name.ptr[i]) != NULL)
			return false;
	return campaign_path_ok(name);
}

/* The file's path from the folder of the campaign file: beside the template, with its ending. */
static char *
partial_path(struct gather *g, struct slice name)
{
	const char *slash = strrchr(g->path, '/');
	int folder = slash != NULL ? (int)(slash - g->path) + 1 : 0;
	bool has_ending = memchr(name.ptr, '.', name.len) != NULL;
	size_t size = (size_t)folder + name.len + strlen(g->ending) + 1;
	char *path = arena_alloc(&g->s->arena, size);

	if (path != NULL)
		(void)snprintf(path, size, "%.*s%.*s%s", folder, g->path, SLICE_ARG(name),
		    has_ending ? "" : g->ending);
	return path;
}

/* A path as a person would open it: below the folder of the campaign file. */
static const char *
shown_path(struct campaign_source *s, const char *path)
{
	const char *slash = strrchr(s->path, '/');
	int folder = slash != NULL ? (int)(slash - s->path) + 1 : 0;
	size_t size = (size_t)folder + strlen(path) + 1;
	char *shown = arena_alloc(&s->arena, size);

	if (shown != NULL)
		(void)snprintf(shown, size, "%.*s%s", folder, s->path, path);
	return shown != NULL ? shown : path;
}

static void
add_piece(struct gather *g, const char *path, const char *part, struct slice text)
{
	g->pieces->piece[g->pieces->count++] = (struct campaign_piece){
		.path = shown_path(g->s, path), .part = part, .from = g->text.len, .text = text
	};
	buf_append_slice(&g->text, text);
}

/* The file, as {{#*inline "name"}} behind what is there. */
static int
add_partial(struct gather *g, struct slice name, size_t at, struct err *err)
{
	const struct campaign_piece *last = g->pieces->piece;
	size_t line, column;
	struct err why = { 0 };
	struct slice text = { 0 };
	const char *path;
	int fd;

	while (at > 0 && memcmp(g->text.data + at, "{{", 2) != 0)
		at--; /* from behind the tag to its start */
	for (size_t i = 0; i < g->pieces->count; i++)
		if (at >= g->pieces->piece[i].from)
			last = &g->pieces->piece[i];
	template_position(last->text, at - last->from, &line, &column);
	if (!partial_name_ok(name))
		return err_set(err,
		    "%.200s%s:%zu:%zu: {{> %.60s}} names no partial and no file beside the "
		    "template",
		    last->path, last->part, line, column, arena_copy(&g->s->arena, name).ptr);
	if (g->pieces->count > TEMPLATE_PARTIALS_MAX)
		return err_set(
		    err, "%.300s: more than %d partials", g->path, TEMPLATE_PARTIALS_MAX);
	path = partial_path(g, name);
	if (path == NULL)
		return err_set(err, "there is not enough memory for %.300s", g->path);
	fd = open_below(g->folder, path);
	if (fd < 0)
		return err_set(err,
		    "%.180s%s:%zu:%zu: {{> %.*s}} is neither defined by {{#*inline}} nor a file: "
		    "%.100s: %s",
		    last->path, last->part, line, column, name.len < 60 ? (int)name.len : 60,
		    name.ptr, path,
		    errno == ELOOP ? "symbolic links are not followed" : strerror(errno));
	if (read_regular(fd, TEMPLATE_SOURCE_MAX, path, &g->s->arena, &text, &why) != 0)
		return err_set(err, "%.200s:%zu:%zu: %.150s", last->path, line, column, why.msg);
	buf_append_str(&g->text, "{{#*inline \"");
	buf_append_slice(&g->text, name);
	buf_append_str(&g->text, "\"}}");
	add_piece(g, path, "", text);
	buf_append_str(&g->text, "{{/inline}}");
	return 0;
}

/* Puts the files of the part's partials behind it. path: the file it was read from. */
static int
gather_partials(struct campaign_source *s, int folder, const char *path, const char *part,
    const char *ending, struct slice *text, struct campaign_pieces *pieces, struct err *err)
{
	struct gather g = {
		.s = s, .folder = folder, .path = path, .ending = ending, .pieces = pieces
	};
	size_t at = 0;
	struct slice name;
	int result = 0;

	if (text->len == 0)
		return 0;
	pieces->piece = arena_array(&s->arena, TEMPLATE_PARTIALS_MAX + 1, sizeof(*pieces->piece));
	if (pieces->piece == NULL)
		return err_set(err, "there is not enough memory for %.300s", path);
	buf_init(&g.text, ARENA_MAX);
	add_piece(&g, path, part, *text);
	while (result == 0 && !buf_failed(&g.text) &&
	    template_next_partial(buf_slice(&g.text), &at, &name)) {
		/* the buffer moves while it grows */
		name = arena_copy(&s->arena, name);
		result = name.ptr != NULL ? add_partial(&g, name, at, err)
					  : err_set(err, "there is not enough memory");
	}
	if (result == 0 && (buf_failed(&g.text) || g.text.len > TEMPLATE_SOURCE_MAX))
		result = err_set(err, "%.300s is larger than 1 MB with its partials", path);
	if (result == 0)
		*text = arena_copy(&s->arena, buf_slice(&g.text));
	buf_release(&g.text);
	return result == 0 && text->ptr == NULL
	    ? err_set(err, "there is not enough memory for %.300s", path)
	    : result;
}

static const char *
ending_of(const char *path, const char *other)
{
	const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');

	return dot != NULL && (slash == NULL || dot > slash) ? dot : other;
}

/* html and text from files of their own. */
static int
read_parts(struct campaign_source *s, int folder, struct err *err)
{
	const struct campaign_file *f = &s->file;

	if (read_template(s, folder, f->html, f->html_line, &s->html, err) != 0 ||
	    read_template(s, folder, f->text, f->text_line, &s->text, err) != 0 ||
	    gather_partials(s, folder, f->html, "", ending_of(f->html, ".html"), &s->html,
		&s->html_pieces, err) != 0)
		return -1;
	return gather_partials(
	    s, folder, f->text, "", ending_of(f->text, ".txt"), &s->text, &s->text_pieces, err);
}

/* subject, html and text from one file of Amazon SES. */
static int
read_ses(struct campaign_source *s, int folder, struct err *err)
{
	const char *path = s->file.template;
	struct ses_template t;
	struct slice file = { 0 };
	struct err why = { 0 };

	if (read_template(s, folder, path, s->file.template_line, &file, err) != 0)
		return -1;
	if (ses_template_parse(&t, file, &s->arena, &why) != 0) {
		path = shown_path(s, path);
		return why.offset > 0
		    ? err_set(err, "%.200s:%zu: %.170s", path, why.offset, why.msg)
		    : err_set(err, "%.200s: %.180s", path, why.msg);
	}
	s->file.subject = t.subject.ptr;
	s->html = t.html;
	s->text = t.text;
	if (gather_partials(
		s, folder, path, " (HtmlPart)", ".html", &s->html, &s->html_pieces, err) != 0)
		return -1;
	return gather_partials(
	    s, folder, path, " (TextPart)", ".txt", &s->text, &s->text_pieces, err);
}

static void
source_init(struct campaign_source *s)
{
	*s = (struct campaign_source){ .unsubscribe_base = "", .return_path_domain = "" };
	s->file.template = "";
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
	result =
	    s->file.template[0] != '\0' ? read_ses(s, folder, err) : read_parts(s, folder, err);
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
