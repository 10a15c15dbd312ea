/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_gmime: reads messages with GMime and tells what it sees, one JSON line each: number of
 * header fields, warnings of the parser, subject, name and address in To, text, html, names of
 * files. Input: as compose_many writes it, without the refused ones.
 */
#include <gmime/gmime.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct reading {
	json_t *seen;
	unsigned warnings;
};

static void
on_warning(gint64 offset, GMimeParserWarning code, const gchar *item, gpointer user)
{
	struct reading *r = user;

	r->warnings++;
	fprintf(stderr, "read_gmime: warning %d at %lld: %s\n", (int)code, (long long)offset,
	    item != NULL ? item : "");
}

static void
on_part(GMimeObject *parent, GMimeObject *part, gpointer user)
{
	struct reading *r = user;
	GMimeContentType *type = g_mime_object_get_content_type(part);
	char *text;

	(void)parent;
	if (GMIME_IS_TEXT_PART(part)) {
		text = g_mime_text_part_get_text(GMIME_TEXT_PART(part));
		(void)json_object_set_new(r->seen, g_mime_content_type_get_media_subtype(type),
		    json_string(text != NULL ? text : ""));
		g_free(text);
	} else if (GMIME_IS_PART(part)) {
		(void)json_array_append_new(json_object_get(r->seen, "files"),
		    json_string(g_mime_part_get_filename(GMIME_PART(part))));
	}
}

static void
read_to(struct reading *r, GMimeMessage *message)
{
	InternetAddressList *list = g_mime_message_get_to(message);
	InternetAddress *to = internet_address_list_get_address(list, 0);
	const char *name = to != NULL ? internet_address_get_name(to) : NULL;

	(void)json_object_set_new(r->seen, "to", json_integer(internet_address_list_length(list)));
	(void)json_object_set_new(r->seen, "name", json_string(name != NULL ? name : ""));
	if (to != NULL && INTERNET_ADDRESS_IS_MAILBOX(to))
		(void)json_object_set_new(r->seen, "address",
		    json_string(internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(to))));
}

static void
read_one(const char *bytes, size_t n)
{
	struct reading r = { .seen = json_object() };
	GMimeParserOptions *options = g_mime_parser_options_new();
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(bytes, n);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message;
	const char *subject;
	char *line;

	g_mime_parser_options_set_warning_callback(options, on_warning, &r);
	message = g_mime_parser_construct_message(parser, options);
	(void)json_object_set_new(r.seen, "files", json_array());
	if (message != NULL) {
		subject = g_mime_message_get_subject(message);
		(void)json_object_set_new(
		    r.seen, "subject", json_string(subject != NULL ? subject : ""));
		(void)json_object_set_new(r.seen, "headers",
		    json_integer(g_mime_header_list_get_count(
			g_mime_object_get_header_list(GMIME_OBJECT(message)))));
		read_to(&r, message);
		g_mime_message_foreach(message, on_part, &r);
		g_object_unref(message);
	}
	(void)json_object_set_new(r.seen, "warnings", json_integer(r.warnings));
	line = json_dumps(r.seen, JSON_COMPACT);
	puts(line != NULL ? line : "null");
	free(line);
	json_decref(r.seen);
	g_object_unref(parser);
	g_object_unref(stream);
	g_mime_parser_options_free(options);
}

int
main(void)
{
	char head[200], *bytes;
	size_t n;

	g_mime_init();
	while (fgets(head, sizeof(head), stdin) != NULL) {
		if (sscanf(head, "ok %zu", &n) != 1)
			continue;
		bytes = malloc(n + 1);
		if (bytes == NULL || fread(bytes, 1, n, stdin) != n)
			return 1;
		read_one(bytes, n);
		free(bytes);
	}
	g_mime_shutdown();
	return 0;
}
