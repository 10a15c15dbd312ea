/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_source: see campaign_source.h. */
#include "campaign_source.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "clamd.h"
#include "html_images.h"
#include "options.h"
#include "ses_template.h"
#include "template.h"

#define ARENA_MAX ((size_t)48 << 20)
#define DIGEST_BYTES 32
#define ID_DIGITS 20 /* of the digest, in a content id */

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

/* Reads a file below folder. The path is a plain one. */
static int
read_below(struct campaign_source *s, int folder, const char *path, size_t line, size_t max,
    struct slice *out, struct err *err)
{
	struct err why = { 0 };
	char at[600];
	int fd;

	(void)campaign_source_at(s, line, at, sizeof(at));
	fd = open_below(folder, path);
	if (fd < 0)
		return err_set(err, "%.200s%.150s: %s", at, path,
		    errno == ELOOP ? "symbolic links are not followed"
			: errno == ENOTDIR
			? "not a folder on the way (symbolic links are not followed)"
			: strerror(errno));
	if (read_regular(fd, max, path, &s->arena, out, &why) != 0)
		return err_set(err, "%.150s%.240s", at, why.msg);
	if (out->len == 0)
		return err_set(err, "%.200s%.150s is empty", at, path);
	return 0;
}

/* "" gives the empty text. */
static int
read_template(struct campaign_source *s, int folder, const char *path, size_t line,
    struct slice *out, struct err *err)
{
	if (path[0] == '\0')
		return 0;
	return read_below(s, folder, path, line, TEMPLATE_SOURCE_MAX, out, err);
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

/* ---------------------------------------------------------------- files */

static const char *
digest_of(struct arena *arena, struct slice bytes)
{
	unsigned char digest[DIGEST_BYTES];
	char *text = arena_alloc(arena, 2 * DIGEST_BYTES + 1);

	if (text == NULL || EVP_Digest(bytes.ptr, bytes.len, digest, NULL, EVP_sha256(), NULL) != 1)
		return NULL;
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return text;
}

/* The name by which the html calls an image: unique in the world, the same for the same bytes. */
static struct slice
content_id(struct campaign_source *s, const char *digest)
{
	const char *from = strrchr(s->file.from_address, '@');
	size_t size = ID_DIGITS + strlen(from) + 1;
	char *id = arena_alloc(&s->arena, size);

	if (id == NULL)
		return slice_make(NULL, 0);
	(void)snprintf(id, size, "%.*s%s", ID_DIGITS, digest, from);
	return slice_str(id);
}

static const struct attach *
find_file(const struct campaign_source *s, struct slice path, bool is_image)
{
	for (size_t i = 0; i < s->file_count; i++)
		if (slice_equal(slice_str(s->paths[i]), path) &&
		    (s->files[i].content_id.len > 0) == is_image)
			return &s->files[i];
	return NULL;
}

static int
add_file(struct campaign_source *s, int folder, struct slice path, size_t line, bool is_image,
    struct err *err)
{
	struct attach *a = &s->files[s->file_count];
	const char *text, *slash;
	size_t left = ATTACH_BYTES_MAX;
	char at[600];

	(void)campaign_source_at(s, line, at, sizeof(at));
	if (find_file(s, path, is_image) != NULL)
		return 0;
	if (s->file_count == ATTACH_COUNT_MAX)
		return err_set(err, "%.200sthere are more than %d files", at, ATTACH_COUNT_MAX);
	for (size_t i = 0; i < s->file_count; i++)
		left -= s->files[i].bytes.len;
	text = arena_copy(&s->arena, path).ptr;
	if (text == NULL)
		return err_set(err, "there is not enough memory");
	if (read_below(s, folder, text, line, left, &a->bytes, err) != 0)
		return -1;
	slash = strrchr(text, '/');
	a->name = slice_str(slash != NULL ? slash + 1 : text);
	a->type = slice_str(attach_type(a->name));
	a->content_id = slice_make(NULL, 0);
	s->paths[s->file_count] = text;
	s->digests[s->file_count] = digest_of(&s->arena, a->bytes);
	if (s->digests[s->file_count] == NULL)
		return err_set(err, "there is not enough memory");
	if (is_image) {
		a->content_id = content_id(s, s->digests[s->file_count]);
		if (a->content_id.len == 0)
			return err_set(err, "there is not enough memory");
	}
	s->file_count++;
	return 0;
}

struct naming {
	struct campaign_source *source;
	int folder;
};

static int
id_of_image(void *ctx, enum html_image kind, struct slice name, struct slice *id, struct err *err)
{
	struct naming *n = ctx;
	struct campaign_source *s = n->source;
	const struct attach *a;
	char at[600];

	(void)campaign_source_at(s, s->file.html_line, at, sizeof(at));
	if (kind == HTML_IMAGE_FILE) {
		if (strcmp(s->file.embed_images, "yes") != 0)
			return 0;
		if (!campaign_path_ok(name))
			return err_set(err,
			    "%.150sthe html names the image %.*s, which is no file in the folder "
			    "of "
			    "the campaign file or below",
			    at, (int)(name.len > 100 ? 100 : name.len), name.ptr);
		if (add_file(s, n->folder, name, s->file.html_line, true, err) != 0)
			return -1;
	}
	a = find_file(s, name, true);
	if (a == NULL)
		return err_set(err,
		    "%.150sthe html names cid:%.*s, but \"inline\" has no such file", at,
		    (int)(name.len > 100 ? 100 : name.len), name.ptr);
	*id = a->content_id;
	return 0;
}

static int
name_images(struct campaign_source *s, int folder, struct err *err)
{
	struct naming n = { s, folder };
	struct buf html;
	int result;

	buf_init(&html, 2 * TEMPLATE_SOURCE_MAX);
	result = html_images_rename(&html, s->html, id_of_image, &n, err);
	if (result == 0) {
		s->html = arena_copy(&s->arena, buf_slice(&html));
		if (buf_failed(&html) || s->html.ptr == NULL)
			result = err_set(err, "there is not enough memory for the html");
	}
	buf_release(&html);
	return result;
}

static int
read_files(struct campaign_source *s, int folder, struct err *err)
{
	const struct campaign_file *f = &s->file;

	for (size_t i = 0; i < f->inline_images.count; i++)
		if (add_file(s, folder, slice_str(f->inline_images.name[i]), f->inline_line, true,
			err) != 0)
			return -1;
	if (s->html.len > 0 && name_images(s, folder, err) != 0)
		return -1;
	for (size_t i = 0; i < f->attachments.count; i++)
		if (add_file(s, folder, slice_str(f->attachments.name[i]), f->attachments_line,
			false, err) != 0)
			return -1;
	return 0;
}

int
campaign_source_scan(const struct campaign_source *s, const char *clamd, struct err *err)
{
	struct err why = { 0 };

	if (clamd[0] == '\0')
		return 0;
	for (size_t i = 0; i < s->file_count; i++) {
		switch (clamd_scan(clamd, s->files[i].bytes, &why)) {
		case CLAMD_CLEAN:
			break;
		case CLAMD_FOUND:
			return err_set(err, "%.*s is refused by the virus scanner: %.200s",
			    SLICE_ARG(s->files[i].name), why.msg);
		case CLAMD_NO_VERDICT:
			return err_set(err, "%.*s could not be scanned for viruses: %.300s",
			    SLICE_ARG(s->files[i].name), why.msg);
		}
	}
	return 0;
}

/* ---------------------------------------------------------------- the whole */

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
	if (result == 0)
		result = read_files(s, folder, err);
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

static bool
options_from_json(struct campaign_source *s, const char *text)
{
	struct campaign_file *f = &s->file;
	struct options o;
	struct err err;

	if (options_read(&o, text, &s->arena, &err) != 0)
		return false;
	f->sender_name = o.sender_name.len > 0 ? o.sender_name.ptr : "";
	f->sender_address = o.sender_addr.len > 0 ? o.sender_addr.ptr : "";
	f->reply_to_name = o.reply_to_name.len > 0 ? o.reply_to_name.ptr : "";
	f->iso_2022_jp.name =
	    arena_array(&s->arena, o.jis_domain_count + 1, sizeof(*f->iso_2022_jp.name));
	if (f->iso_2022_jp.name == NULL)
		return false;
	for (size_t i = 0; i < o.jis_domain_count; i++)
		f->iso_2022_jp.name[f->iso_2022_jp.count++] = o.jis_domains[i].ptr;
	return true;
}

/* 0, or -1 with db->error. */
static int
fetch_files(struct campaign_source *s, struct db *db, const char *name)
{
	static const char sql[] =
	    "SELECT f.name, f.type, f.content_id, f.digest, encode(b.bytes, 'base64') "
	    "FROM kairan.campaign c JOIN kairan.template_file f ON f.template_id = c.template_id "
	    "JOIN kairan.blob b ON b.digest = f.digest WHERE c.name = $1 ORDER BY f.position LIMIT "
	    "20";
	PGresult *r = db_query(db, sql, 1, &name);
	int result = 0;

	for (int i = 0; r != NULL && result == 0 && i < PQntuples(r); i++) {
		struct attach *a = &s->files[s->file_count];

		a->name = arena_copy(&s->arena, slice_str(db_text(r, i, 0)));
		a->type = arena_copy(&s->arena, slice_str(db_text(r, i, 1)));
		a->content_id = arena_copy(&s->arena, slice_str(db_text(r, i, 2)));
		s->digests[s->file_count] = arena_str(&s->arena, db_text(r, i, 3));
		if (a->name.ptr == NULL || a->type.ptr == NULL || a->content_id.ptr == NULL ||
		    !attach_decode(&s->arena, db_text(r, i, 4), &a->bytes)) {
			(void)snprintf(db->error, sizeof(db->error), "there is not enough memory");
			result = -1;
		}
		s->file_count++;
	}
	PQclear(r);
	return r != NULL ? result : -1;
}

int
campaign_source_fetch(struct campaign_source *s, struct db *db, const char *name)
{
	/* in the order of the members filled below */
	static const char sql[] =
	    "SELECT c.name, st.name, t.subject, c.from_name, c.from_address, c.reply_to, c.list, "
	    "c.segment, c.missing_field, c.bad_field, st.unsubscribe_base, st.return_path_domain, "
	    "t.html, t.body, c.headers, t.options, st.auto_submitted "
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
	    headers_from_json(s, db_text(r, 0, count + 2)) &&
	    options_from_json(s, db_text(r, 0, count + 3));
	s->auto_submitted = db_text(r, 0, count + 4)[0] == 't';
	PQclear(r);
	if (!ok) {
		(void)snprintf(db->error, sizeof(db->error), "there is not enough memory");
		return -1;
	}
	return fetch_files(s, db, name) == 0 ? 1 : -1;
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
